"""The arithmetic that a precision stands for."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import asvit
from asvit.training import metrics, trainer
from asvit.training.precision import (
    arithmetic,
    autocast,
    resolve_precision,
    training_precision,
)
from asvit.training.short import Recipe, fit
from tests.asvit.training.test_supernets import make, trainer_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda:1")


class FakeCuda:
    """torch.cuda as far as the choice needs it."""

    def __init__(self, bf16: bool) -> None:
        self.bf16, self.device_used = bf16, ""

    def device(self, device: torch.device) -> AbstractContextManager[None]:
        self.device_used = str(device)
        return nullcontext()

    def is_bf16_supported(self, including_emulation: bool) -> bool:
        assert not including_emulation
        return self.bf16


@pytest.mark.parametrize(
    ("device", "bf16", "precision"),
    [(CPU, True, "fp32"), (torch.device("mps"), True, "fp32"), (CUDA, True, "bf16"),
     (CUDA, False, "fp32")],
)  # fmt: skip
def test_auto_is_bf16_on_the_gpus_that_have_it(
    device: torch.device, bf16: bool, precision: str
) -> None:
    cuda = FakeCuda(bf16)
    assert resolve_precision("auto", device, cuda) == precision
    assert cuda.device_used == ("cuda:1" if device is CUDA else "")
    for name in ("fp32", "tf32", "bf16"):
        assert resolve_precision(name, device, cuda) == name


def flags() -> tuple[Any, ...]:
    backends: Any = torch.backends
    cudnn, matmul = backends.cudnn, backends.cuda.matmul
    return matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.allow_tf32, cudnn.benchmark


@pytest.mark.filterwarnings("ignore:Please use the new API")  # torch 2.9
@pytest.mark.parametrize(
    ("precision", "inside"),
    [("fp32", ("ieee", "ieee", False)), ("tf32", ("tf32",) * 2 + (True,)),
     ("bf16", ("tf32",) * 2 + (True,))],
)  # fmt: skip
def test_products_on_cuda_are_as_precise_as_asked(precision: str, inside: tuple[Any]) -> None:
    before = flags()
    for passes, tried in {0: False, 100: False, 2_000: True}.items():
        with arithmetic(CUDA, precision, passes=passes):
            assert flags() == (*inside, tried)
    assert flags() == before
    with arithmetic(CPU, precision):
        assert flags() == before


@pytest.mark.parametrize(
    ("device", "precision", "dtype"),
    [("cpu", "auto", torch.float32), ("cpu", "tf32", torch.float32),
     ("cpu", "bf16", torch.bfloat16), ("meta", "bf16", torch.float32)],
)  # fmt: skip
def test_autocast_is_for_bf16(device: str, precision: str, dtype: torch.dtype) -> None:
    layer, inputs = nn.Linear(2, 2).to(device), torch.ones(1, 2, device=device)
    with autocast(torch.device(device), precision):
        assert layer(inputs).dtype == dtype


class Seen(nn.Module):
    """Notes the dtypes of its products."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 3)
        self.dtypes: dict[bool, torch.dtype] = {}

    def forward(self, images: Tensor, path: object = None) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        self.dtypes[self.training] = logits.dtype
        return logits


def rounded(device: torch.device, precision: str) -> torch.autocast:
    assert precision == "auto"
    return torch.autocast(device.type, torch.bfloat16)


@pytest.mark.parametrize(
    ("choice", "expected"), [(autocast, torch.float32), (rounded, torch.bfloat16)]
)
def test_short_trainings_and_supernets_choose_theirs(
    monkeypatch: pytest.MonkeyPatch, choice: Any, expected: torch.dtype
) -> None:
    monkeypatch.setattr(trainer, "autocast", choice)
    monkeypatch.setattr(metrics, "autocast", choice)
    images, model = (torch.randn(8, 3, 8, 8), torch.arange(8) % 3), Seen()
    assert fit(model, images, images, Recipe(steps=2, batch_size=4), seed=0).reason is None
    assert model.dtypes == {True: expected, False: expected}
    net, task = make()
    products = set[torch.dtype]()
    net.head.register_forward_hook(lambda *call: products.add(call[2].dtype))
    trainer_of(task).train(0)
    assert products == {expected}
    assert net.head.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("text", "on_a_cpu"),
    [
        ("timm:small_resnet(channels=[4,8],layers=[1,1],stem_width=4)", "bf16"),
        ("shift:1,1,1,1|4|12|1|16", "bf16"),
        ("8,8,2|3,2,2|2,1,2|2,1,2|16", "fp32"),  # attention
        ("timm:mobilenetv3_small_050", "fp32"),  # depthwise convolutions
    ],
)
def test_auto_is_bf16_on_cpus_that_train_the_network_faster_with_it(
    text: str, on_a_cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = asvit.build(text, image_size=64, num_classes=2)
    for name, expected in (("amx_bf16", on_a_cpu), ("avx512_bf16", on_a_cpu), ("avx2", "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda name=name: {name: True})
        assert training_precision("auto", CPU, network) == expected
        assert training_precision("fp32", CPU, network) == "fp32"

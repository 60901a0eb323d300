"""One look at an accelerator: networks on the meta device, where any other look fails."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import asvit
from proxies import PROXIES, Circle, Inputs
from proxies.expansion import length_distortions
from proxies.memory import to_host
from proxies.ntk import ntk_condition_numbers
from proxies.operations import InterceptOperations, Operation
from tests.proxies.networks import small_swin

SIDE = 56
_READS = {Tensor.cpu, Tensor.item, Tensor.tolist, Tensor.__float__, Tensor.__bool__}
# Draws signs on the device of the network, which the meta device cannot.
_ELSEWHERE = {"az_trainability"}


class Reads(InterceptOperations):
    """Counts looks at tensors without values, whose sight it makes up, and what is sent there."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.sent = 0

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        looked_at = args[0] if args and isinstance(args[0], Tensor) else None
        if looked_at is not None and looked_at.is_meta and func in _READS:
            self.reads += 1
            return func(torch.ones(looked_at.shape, dtype=looked_at.dtype), *args[1:])
        out = func(*args, **kwargs)
        if func is Tensor.to and out.is_meta and looked_at is not None:
            self.sent += not looked_at.is_meta
        return out


def seed() -> nn.Module:
    return asvit.build("8,2,3|4,1,2|4,1,4|4,1,6|16", image_size=SIDE)


def inputs() -> Inputs:
    images = torch.empty(4, 3, SIDE, SIDE, device="meta")
    labels = torch.empty(4, dtype=torch.long, device="meta")
    return Inputs(Circle.random((3, SIDE, SIDE), 3), images, labels)


@pytest.mark.parametrize("build", [seed, small_swin])
@pytest.mark.parametrize("name", [n for n in PROXIES if PROXIES[n].random and n not in _ELSEWHERE])
def test_a_measure_waits_for_its_device_once(name: str, build: Callable[[], nn.Module]) -> None:
    with torch.device("meta"):
        model = build()
    with Reads() as reads:
        PROXIES[name].value(model, inputs())
    assert reads.reads == 1


@pytest.mark.parametrize("build", [seed, small_swin])
def test_networks_together_are_waited_for_once(build: Callable[[], nn.Module]) -> None:
    with torch.device("meta"):
        models = [build() for _ in range(3)]
    met = inputs()
    with Reads() as reads:
        length_distortions(models, [met.circle] * 3)
    assert reads.reads == 1
    with Reads() as reads:
        ntk_condition_numbers(models, met.images)
    assert reads.reads == 1


def test_a_circle_is_sent_once() -> None:
    with torch.device("meta"):
        model = seed()
    met = inputs()
    sent = []
    for _ in range(3):
        with Reads() as reads:
            PROXIES["length_distortion"].value(model, met)
        sent.append(reads.sent)
    assert sent == [2, 0, 0]


def test_a_look_is_counted() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2))
    model.register_forward_hook(lambda module, args, out: out * out.abs().max().item())
    with Reads() as reads:
        PROXIES["length_distortion"].value(model, inputs())
    assert reads.reads == 2


def test_fetched_tensors_are_what_they_were() -> None:
    tensors = [
        torch.randn(2, 3),
        torch.tensor(True),
        torch.randn(4, dtype=torch.float64, requires_grad=True),
        torch.zeros(0, 2),
    ]
    found = to_host(tensors)
    for before, after in zip(tensors, found, strict=True):
        assert after.dtype == before.dtype
        assert torch.equal(after, before)
        assert not after.requires_grad
    assert to_host([]) == []

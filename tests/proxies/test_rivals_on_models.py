"""Every rival with a backward pass, on every kind of network: a value, and nothing left behind."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import proxies
from proxies import PROXIES, Circle, Inputs
from tests.proxies.networks import asvit_network
from tests.proxies.test_timm_models import MODELS

NAMES = ("synflow", "snip", "grad_norm", "grasp", "fisher", "zico", "dss")
NOT_DEFINED = {("convnext_atto", "dss"): "ConvNeXt has no attention"} | {
    ("resnet18", "dss"): "ResNet has no attention"
}


class Shared(nn.Module):
    """Blocks that share a module, and modules that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = AttentionBlock(), AttentionBlock()
        self.second.attn = self.first.attn
        self.second.mlp.weight = self.first.mlp.weight
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.mean(1)  # [n, 12, 12]
        out: Tensor = self.head(self.second(self.first(rows)).mean(1))
        return out


class AttentionBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(12, 2, batch_first=True)
        self.mlp = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.mlp(self.attn(x, x, x)[0])
        return out


def builder(name: str) -> tuple[Callable[[], nn.Module], int]:
    if name == "as-vit":
        return asvit_network("8,2,3|4,1,2|4,1,2|4,1,2|16,8", 32), 32
    if name == "shared":
        return Shared, 12
    settings: dict[str, Any] = MODELS[name]
    return lambda: timm.create_model(name, num_classes=3, **settings), settings.get("img_size", 32)


@pytest.mark.parametrize("name", ["as-vit", "shared", *MODELS])
def test_a_finite_value_or_a_reason(name: str) -> None:
    build, side = builder(name)
    images = torch.randn(4, 3, side, side)
    found = proxies.measure(build, NAMES, repeats=1, images=images, device="cpu")
    for measure, score in found.items():
        reason = NOT_DEFINED.get((name, measure), "")
        assert score.valid == (not reason), score.reason
        assert reason in score.reason
        assert score.better == "higher"


def inputs(side: int, images: int = 4) -> Inputs:
    circle = Circle.random((3, side, side), 3)
    return Inputs(circle, torch.randn(images, 3, side, side), torch.arange(images))


def state(model: nn.Module) -> list[object]:
    """Everything that a measure could change."""
    found: list[object] = [sorted(model.__dict__), torch.get_rng_state().tolist()]
    for module in model.modules():
        found += [module.training, sorted(module.__dict__), len(module._forward_hooks)]
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        grad = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        pointer = (id(tensor), tensor.data_ptr(), tensor._version)
        found += [name, pointer, tensor.tolist(), tensor.requires_grad, grad]
    return found


def used_before(name: str) -> tuple[nn.Module, int]:
    """A model with gradients on some parameters, some frozen, and modes of its own."""
    build, side = builder(name)
    torch.manual_seed(0)
    model = build().train()
    parameters = list(model.parameters())
    parameters[-1].grad = torch.randn_like(parameters[-1])
    parameters[0].requires_grad_(False)
    next(model.children()).eval()
    return model, side


@pytest.mark.parametrize("measure", NAMES)
@pytest.mark.parametrize("name", ["as-vit", "shared", "deit_tiny_patch16_224", "resnet18"])
def test_the_model_is_left_as_it_was(name: str, measure: str) -> None:
    model, side = used_before(name)
    given = inputs(side)
    before = state(model)
    if (name, measure) in NOT_DEFINED:
        with pytest.raises(ValueError, match="no attention"):
            PROXIES[measure].value(model, given)
    else:
        first = PROXIES[measure].value(model, given)
        assert math.isfinite(first)
        assert PROXIES[measure].value(model, given) == first
    assert state(model) == before


class Interrupts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyboardInterrupt


@pytest.mark.parametrize("measure", NAMES)
def test_the_model_is_left_as_it_was_when_interrupted(measure: str) -> None:
    model, side = used_before("as-vit")
    model.head = Interrupts()
    given = inputs(side)
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        PROXIES[measure].value(model, given)
    assert state(model) == before


class Broken(Shared):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("token")


@pytest.mark.parametrize("measure", NAMES)
def test_errors_of_a_model_are_told(measure: str) -> None:
    with pytest.raises(ValueError, match="Broken: 'token'"):
        PROXIES[measure].value(Broken(), inputs(12))


@pytest.mark.parametrize("measure", NAMES)
def test_no_sample_is_seen_in_a_loop(measure: str) -> None:
    """As many forward passes for four images as for two: one, or two where there are two steps."""
    model, side = used_before("as-vit")
    passes = []
    for images in (2, 4):
        calls: list[None] = []
        handle = model.register_forward_pre_hook(lambda module, args, c=calls: c.append(None))
        PROXIES[measure].value(model, inputs(side, images))
        handle.remove()
        passes.append(len(calls))
    assert passes == ([2, 2] if measure in ("zico", "grasp") else [1, 1])

"""One device synchronisation per measure, counted on the meta device, where others fail."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import asvit
from proxies import PROXIES, Circle, Inputs
from proxies.expansion import length_distortions
from proxies.functional import InterceptOperations, Operation
from proxies.memory import to_host
from proxies.ntk import ntk_condition_numbers
from tests.proxies.networks import small_swin

SIDE = 56
_READS = {Tensor.cpu, Tensor.item, Tensor.tolist, Tensor.__float__, Tensor.__bool__}
# Draws signs on the device of the network, which the meta device cannot do.
_NOT_ON_META = {"az_trainability"}
NAMES = [n for n in PROXIES if PROXIES[n].random and n not in _NOT_ON_META]


class SyncCounter(InterceptOperations):
    """Counts reads of tensors on the meta device, which give ones, and copies to that device."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.sent = 0

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        tensor = args[0] if args and isinstance(args[0], Tensor) else None
        if tensor is not None and tensor.is_meta and func in _READS:
            self.reads += 1
            return func(torch.ones(tensor.shape, dtype=tensor.dtype), *args[1:])
        out = func(*args, **kwargs)
        if func is Tensor.to and out.is_meta and tensor is not None:
            self.sent += not tensor.is_meta
        return out


def seed() -> nn.Module:
    return asvit.build("8,2,3|4,1,2|4,1,4|4,1,6|16", image_size=SIDE)


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


def inputs() -> Inputs:
    images = torch.empty(4, 3, SIDE, SIDE, device="meta")
    labels = torch.empty(4, dtype=torch.long, device="meta")
    return Inputs(Circle.random((3, SIDE, SIDE), 3), images, labels)


@pytest.mark.parametrize("build", [seed, small_swin])
@pytest.mark.parametrize("name", NAMES)
def test_a_measure_synchronises_once(name: str, build: Callable[[], nn.Module]) -> None:
    model = on_meta(build)
    with SyncCounter() as counter:
        PROXIES[name].value(model, inputs())
    assert counter.reads == 1


@pytest.mark.parametrize("build", [seed, small_swin])
def test_stacked_networks_synchronise_once(build: Callable[[], nn.Module]) -> None:
    models = [on_meta(build) for _ in range(3)]
    met = inputs()
    with SyncCounter() as counter:
        length_distortions(models, [met.circle] * 3)
    assert counter.reads == 1
    with SyncCounter() as counter:
        ntk_condition_numbers(models, met.images)
    assert counter.reads == 1


def test_a_circle_is_sent_once() -> None:
    model = on_meta(seed)
    met = inputs()
    sent = []
    for _ in range(3):
        with SyncCounter() as counter:
            PROXIES["length_distortion"].value(model, met)
        sent.append(counter.sent)
    assert sent == [2, 0, 0]


def test_a_read_is_counted() -> None:
    model = on_meta(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2)))
    model.register_forward_hook(lambda module, args, out: out * out.abs().max().item())
    with SyncCounter() as counter:
        PROXIES["length_distortion"].value(model, inputs())
    assert counter.reads == 2


def test_copied_tensors_are_equal() -> None:
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

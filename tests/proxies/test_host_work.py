"""What a measure has the host do: reads of an accelerator, and the number of its operations.

Reads are counted on the meta device, where others fail.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import asvit
from proxies import PROXIES, Circle, Inputs
from proxies.features import pooled_feature
from tests.host_reads import HostReads
from tests.proxies.networks import small_swin

SIDE = 56
# Draws signs on the device of the network, which the meta device cannot do.
_NOT_ON_META = {"az_trainability"}
NAMES = [n for n in PROXIES if PROXIES[n].random and n not in _NOT_ON_META]
# In kernels of a forward pass: what was counted, and a tenth more.
BUDGETS = {"length_distortion": 4.0, "ntk_condition_number": 6.5}
_NO_KERNEL = {"aten::empty.memory_format", "aten::is_same_size", "aten::_has_same_storage_numel"}


class Operations(TorchDispatchMode):
    """Counts operations that launch a kernel on an accelerator; views do not."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.count += not (func.is_view or func.name() in _NO_KERNEL)
        return func(*args, **(kwargs or {}))


def seed() -> nn.Module:
    return asvit.build("8,2,3|4,1,2|4,1,4|4,1,6|16,16", image_size=SIDE).eval()


def shift() -> nn.Module:
    return asvit.build("shift:1,1,1,1|2|6|1|12", image_size=SIDE).eval()


def inputs(device: str) -> Inputs:
    images = torch.ones(4, 3, SIDE, SIDE, device=device)
    labels = torch.zeros(4, dtype=torch.long, device=device)
    return Inputs(Circle.random((3, SIDE, SIDE), 3), images, labels)


@pytest.mark.parametrize("build", [seed, small_swin])
@pytest.mark.parametrize("name", NAMES)
def test_a_measure_reads_its_accelerator_once(name: str, build: Callable[[], nn.Module]) -> None:
    with torch.device("meta"):
        model = build()
    own = inputs("meta")
    with HostReads(1.0):
        PROXIES[name].value(model, own)  # copies the circle
    with HostReads(1.0) as host:
        PROXIES[name].value(model, own)
    assert host.reads == 1


def operations(call: Callable[[], object]) -> int:
    call()  # what is done once
    with Operations() as counted:
        call()
    return counted.count


@pytest.mark.parametrize("build", [seed, shift])
@pytest.mark.parametrize("name", BUDGETS)
def test_a_measure_keeps_to_its_budget_of_kernels(
    name: str, build: Callable[[], nn.Module]
) -> None:
    model, own = build(), inputs("cpu")
    with torch.no_grad():
        forward = operations(lambda: pooled_feature(model, own.images))
    assert operations(lambda: PROXIES[name].value(model, own)) <= BUDGETS[name] * forward

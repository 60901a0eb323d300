"""What a measure has the host do: reads of an accelerator, and the number of its operations."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import asvit
from proxies import Circle
from proxies.expansion import length_distortion
from proxies.features import pooled_feature
from proxies.ntk import ntk_condition_number
from tests.host_reads import HostReads

SIDE = 32
NETWORKS = (
    "8,2,3|4,1,2|4,1,4|4,1,6|16,2",
    "4,2,2|2,1,2|2,1,2|2,1,2|16,8;stem=conv,mixing=ffn",
    "shift:1,1,1,1|2|6|1|12",
    "timm:resnet10t(channels=[8,16,16,16],layers=[1,1,1,1])",
    "timm:swin_tiny_patch4_window7_224(depths=[2,2],embed_dim=24,num_heads=[1,2])",
    "timm:deit_tiny_patch16_224(embed_dim=12,depth=2)",
)
MEASURES: dict[str, Callable[[nn.Module, Circle, torch.Tensor], float]] = {
    "length": lambda model, circle, images: length_distortion(model, circle),
    "kernel": lambda model, circle, images: ntk_condition_number(model, images),
}
# In kernels of a forward pass of one network: what was counted, and a tenth more.
BUDGETS = {"length": 4.0, "kernel": 6.5}


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


def network(text: str, device: str = "cpu") -> nn.Module:
    return asvit.build(text, image_size=SIDE, num_classes=10).to(device).eval()


def operations(call: Callable[[], object]) -> int:
    call()  # what is done once
    with Operations() as counted:
        call()
    return counted.count


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("text", NETWORKS)
def test_a_measure_reads_its_accelerator_once(text: str, measure: str) -> None:
    model, circle = network(text, "meta"), Circle.random((3, SIDE, SIDE), 3)
    images = torch.randn(2, 3, SIDE, SIDE, device="meta")
    call = partial(MEASURES[measure], model, circle, images)
    with HostReads(1.0):  # checks passed
        call()  # copies the circle
    with HostReads(1.0) as host:
        call()
    assert (host.reads, host.copies) == (1, 0)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_keeps_to_its_budget_of_kernels(measure: str) -> None:
    model, circle = network(NETWORKS[0]), Circle.random((3, SIDE, SIDE), 3)
    images = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        forward = operations(lambda: pooled_feature(model, images))
    own = operations(lambda: MEASURES[measure](model, circle, images))
    assert own <= BUDGETS[measure] * forward

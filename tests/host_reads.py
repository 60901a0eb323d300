"""Counts what makes the host wait for an accelerator, without one."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten: Any = torch.ops.aten
_COMPOSITE = {"aten::item", "aten::to.device", "aten::to.dtype_layout"}


class HostReads(TorchDispatchMode):
    """Counts reads of values from the device "meta", which stands for an accelerator.

    A number that is read is 0.5, or 0 where it is an integer.

    Attributes:
        reads: Numbers and tensors that were read, each of which waits for the device.
        copies: Tensors that were copied to the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.copies = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.name() in _COMPOSITE:  # as inference mode shows them
            with self:
                return func.decompose(*args, **kwargs)
        if func is _aten._local_scalar_dense.default and args[0].is_meta:
            self.reads += 1
            return 0.5 if args[0].is_floating_point() else 0
        if func is _aten._to_copy.default and (place := kwargs.get("device")) is not None:
            source: Tensor = args[0]
            if source.is_meta and torch.device(place).type == "cpu":
                self.reads += 1
                value = 0.5 if source.is_floating_point() else 0
                return torch.full(source.shape, value, dtype=kwargs.get("dtype", source.dtype))
            self.copies += torch.device(place).type == "meta" and not source.is_meta
        return func(*args, **kwargs)

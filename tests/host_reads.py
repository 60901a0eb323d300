"""What makes the host wait for an accelerator, without one."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from asvit.training.trainer import READ_EVERY, Trainer

_aten: Any = torch.ops.aten
_COMPOSITE = {"aten::item", "aten::to.device", "aten::to.dtype_layout"}


class HostReads(TorchDispatchMode):
    """Counts reads of values from the device "meta", which stands for an accelerator.

    What is read is True, 0, or the given number where it may have a fraction.

    Attributes:
        reads: Numbers and tensors that were read, and eigenvalues that were computed, each of
            which waits for the device.
        copies: Tensors that were copied to the device.
    """

    def __init__(self, number: float = 0.0) -> None:
        super().__init__()
        self.number = number
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
            return self._value(args[0])
        if func is _aten._linalg_eigh.default and args[0].is_meta:
            self.reads += 1  # whether it has converged
        if func is _aten._to_copy.default and (place := kwargs.get("device")) is not None:
            source: Tensor = args[0]
            if source.is_meta and torch.device(place).type == "cpu":
                self.reads += 1
                dtype = kwargs.get("dtype", source.dtype)
                return torch.full(source.shape, self._value(source), dtype=dtype)
            self.copies += torch.device(place).type == "meta" and not source.is_meta
        return func(*args, **kwargs)

    def _value(self, tensor: Tensor) -> float:
        if tensor.is_floating_point():
            return self.number
        return tensor.dtype == torch.bool


def read_seldom(monkeypatch: pytest.MonkeyPatch, every: int = READ_EVERY) -> None:
    """Read losses on the CPU as on an accelerator."""
    monkeypatch.setattr(Trainer, "read_every", every)

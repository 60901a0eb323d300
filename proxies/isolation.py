"""Isolate measures from global torch state.

A value must not depend on where it was measured: reduced precision, autocast and inference mode
of the surrounding code are off during a measurement.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_lock = threading.RLock()


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, torch computes in full precision, and gradients can be enabled.

    TF32 keeps ten bits of a product's factors and bfloat16 seven, fewer than the measures need.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())  # inference mode implies it
        for kind in _device_types():
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(_ieee_float32())
        yield


@contextmanager
def isolated() -> Iterator[None]:
    """:func:`full_precision`, with torch's default dtype (float32) and device (the CPU).

    One thread at a time: torch's generator, precision and dual-number level are process-wide.
    """
    with _lock, full_precision(), ExitStack() as stack:
        if (dtype := torch.get_default_dtype()) != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device("cpu"))
        yield


def _device_types() -> set[str]:
    found = torch.accelerator.current_accelerator()
    return {"cpu", found.type} if found else {"cpu"}


@contextmanager
def _ieee_float32() -> Iterator[None]:
    backends: Any = torch.backends
    cuda, mkldnn = backends.cuda, backends.mkldnn
    switches = (cuda.matmul, backends.cudnn.conv, mkldnn.matmul, mkldnn.conv)
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision

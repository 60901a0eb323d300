"""What a caller may have set for torch, and what measures make of it: nothing.

A value must not depend on where it was taken. Reduced precision, autocast and inference mode of
the code around are switched off for as long as a measure takes.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_turns = threading.RLock()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, torch computes in full precision and can differentiate.

    TF32 keeps ten bits of a product's factors and bfloat16 seven, fewer than the measures need.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())  # as it was
        for kind in _kinds_of_devices():
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(_full_precision())
        yield


@contextmanager
def ordinary() -> Iterator[None]:
    """Inside, networks are also built and inputs drawn as if nothing had been set.

    Dtype and device of new tensors are torch's own defaults, float32 and the CPU. Threads take
    turns: torch's generator, its precision and the level of dual numbers belong to the process.
    """
    with _turns, undisturbed(), ExitStack() as stack:
        if (dtype := torch.get_default_dtype()) != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device("cpu"))
        yield


def _kinds_of_devices() -> set[str]:
    found = torch.accelerator.current_accelerator()
    return {"cpu", found.type} if found else {"cpu"}


@contextmanager
def _full_precision() -> Iterator[None]:
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

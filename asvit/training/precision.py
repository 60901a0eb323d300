"""The arithmetic of trainings."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from typing import Any

import torch
from torch import nn

from proxies.features import float32_products


def training_precision(precision: str, device: torch.device, network: nn.Module) -> str:
    """:func:`resolve_precision` for trainings of a network, with bf16 on some CPUs, too.

    On an Intel Xeon with AMX, ResNets and ShiftViTs of 1 to 90 M multiply-adds trained 1.2 to 2.1
    times as fast in bf16, on an AMD EPYC with AVX-512 BF16 1.4 times; networks with depthwise
    convolutions (on the Xeon) 0.95 to 1.06 times, with attention 0.25 to 1.25 times.
    """
    if precision == "auto" and device.type == "cpu" and _has_bf16() and _is_dense(network):
        return "bf16"
    return resolve_precision(precision, device)


@cache
def resolve_precision(precision: str, device: torch.device, cuda: Any = torch.cuda) -> str:
    """``"auto"`` as bf16 on a CUDA device that computes in it, otherwise as fp32; others as is."""
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "fp32"
    with cuda.device(device):
        return "bf16" if cuda.is_bf16_supported(including_emulation=False) else "fp32"


def _has_bf16() -> bool:
    """Whether the CPU multiplies numbers of bfloat16 by instructions of its own."""
    capabilities: Mapping[str, Any] = {}
    with suppress(AttributeError):  # of an older torch
        capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def _is_dense(network: nn.Module) -> bool:
    """Whether a network has neither attention nor grouped convolutions, and some others."""
    modules = list(network.modules())
    groups = {module.groups for module in modules if isinstance(module, nn.Conv2d)}
    return groups == {1} and not any("Attention" in type(module).__name__ for module in modules)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """An autocast context: bfloat16 for a precision of bf16, disabled otherwise."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    bf16 = resolve_precision(precision, device) == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


# Passes from which it pays that cuDNN tries its algorithms for each shape of a convolution, which
# takes seconds for a network. On an H200 it took most of the time of trainings of some steps.
_MANY = 2_000


@contextmanager
def arithmetic(device: torch.device, precision: str, *, passes: int = 0) -> Iterator[None]:
    """What else a precision means on CUDA; elsewhere nothing is changed.

    Products of float32 are computed in TF32, or for a precision of fp32 exactly. With many
    ``passes`` of images of one shape, cuDNN uses its fastest algorithms, unless they are to be
    deterministic.
    """
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn
    before = cudnn.benchmark
    exact = resolve_precision(precision, device) == "fp32"
    with float32_products("ieee" if exact else "tf32"):
        cudnn.benchmark = passes >= _MANY and not cudnn.deterministic
        try:
            yield
        finally:
            cudnn.benchmark = before

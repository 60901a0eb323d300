"""The arithmetic of trainings, and the layout in which a CPU trains fastest."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.models.blocks import MixedConv2d, MixedConv2dSame
from proxies.features import float32_products

# Passes from which it pays that cuDNN tries its algorithms for each shape of a convolution, which
# takes seconds for a network. On an H200 it took most of the time of trainings of some steps.
_MANY = 2_000


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


def fast_layout(images: Tensor) -> Tensor:
    """Images ``[B, C, H, W]`` as convolutions on this device are fastest; others as they are.

    On a CPU, depthwise ones take half the time with the channels of a pixel side by side.
    """
    if images.device.type != "cpu" or images.ndim != 4:
        return images
    return images.contiguous(memory_format=torch.channels_last)


def use_fast_convolutions(network: nn.Module, device: torch.device) -> None:
    """Give the convolutions of a network on a CPU the form in which they are fastest, in place.

    Those of 1 x 1 become products of matrices: with :func:`fast_layout`, networks of 10 M
    multiply-adds train 1.1 to 1.4 times as fast. Others stay in float32 within autocast where
    bfloat16 is slow or wrong.
    """
    if device.type != "cpu":
        return
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = _Product if _is_pointwise(module) else MixedConv2d
        elif type(module) is Conv2dSame:
            module.__class__ = MixedConv2dSame


class _Product(nn.Conv2d):
    """A 1 x 1 convolution, which multiplies matrices where channels are side by side."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        pixels = F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return pixels.permute(0, 3, 1, 2)


def _is_pointwise(convolution: nn.Conv2d) -> bool:
    steps = (*convolution.kernel_size, *convolution.stride)
    return steps == (1, 1, 1, 1) and convolution.groups == 1 and convolution.padding == (0, 0)

"""Coarser or finer tokens with the same weights: progressive re-tokenization.

The first convolution of a network, the stem, cuts the image into tokens. At a larger stride there
are fewer tokens, and a forward pass takes a fraction of the time. A dilation to match spreads the
same kernel over the larger stride.
"""

from typing import Final, NamedTuple, cast

import torch
from torch import nn
from torch.func import functional_call

from asvit.models.asvit import AsViT
from asvit.models.layers.embedding import TokenConv2d, same_padding
from asvit.models.position_grids import ADAPTERS, original, override, restore
from asvit.models.psvit import PSViT
from asvit.models.shiftvit import ShiftViT
from proxies.messages import first_line

__all__ = [
    "SCHEDULE",
    "Tokens",
    "patch_padding",
    "retokenize",
    "stem_of",
    "token_stages",
    "tokens_of",
]


class Tokens(NamedTuple):
    """Stride and dilation of the stem, which determine the tokens.

    Attributes:
        stride: Pixels from one token to the next.
        dilation: Pixels from one weight of the kernel to the next.
    """

    stride: int
    dilation: int

    def __str__(self) -> str:
        return f"({self.stride},{self.dilation})"


#: The published stages of a stem of stride 4, coarse to fine: arXiv:2202.11921.
SCHEDULE: Final = (Tokens(16, 5), Tokens(8, 2), Tokens(4, 1))
_FACTORS: Final = (4, 2, 1)  # on the stride of any stem
_SIZE_FREE: Final = (AsViT, ShiftViT, PSViT)


def patch_padding(kernel: int, tokens: Tokens) -> tuple[int, int]:
    """Zeros to the left of (and above) the image and to the right of (and below) it.

    An image whose sides ``tokens.stride`` divides then has exactly one token for each
    ``tokens.stride`` pixels. At (4,1) the padding is that of the plain As-ViT.

    Args:
        kernel: Side of the kernel, in weights.
        tokens: Stride and dilation.
    """
    return same_padding(kernel, tokens.stride, tokens.dilation)


def token_stages(model: nn.Module) -> tuple[Tokens, ...]:
    """The tokens of the training stages of a network, coarse to fine.

    The strides are four times and twice that of its stem, then its own. A stem of stride 4 has the
    published :data:`SCHEDULE`. The dilation for other strides is ours: the largest at which a
    kernel as wide as the stride stays inside its cell, which gives the published values at
    stride 4.

    Args:
        model: The network, with any of these tokens.

    Raises:
        ValueError: If its first convolution does not cut images into tokens.
    """
    stride = original(stem_of(model), "stride")[0]
    return tuple(Tokens(f * stride, (f * stride - 1) // (stride - 1)) for f in _FACTORS)


def tokens_of(model: nn.Module) -> Tokens:
    """The present tokens of a network.

    Raises:
        ValueError: As :func:`token_stages`.
    """
    stem = stem_of(model)
    return Tokens(stem.stride[0], stem.dilation[0])


def stem_of(model: nn.Module) -> nn.Conv2d:
    """The first convolution of a network, which cuts images into tokens.

    Raises:
        ValueError: If it does not do that, or there is none.
    """
    stem = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if stem is None:
        raise ValueError(f"{_name(model)} has no convolution that could make coarser tokens")
    if type(stem) not in (nn.Conv2d, TokenConv2d) or stem.padding_mode != "zeros":
        raise ValueError(
            f"{_name(model)} starts with {stem}, whose padding is its own; "
            "only a plain convolution can make coarser tokens"
        )
    (kernel, width), (stride, across) = stem.kernel_size, original(stem, "stride")
    square = kernel == width and stride == across
    if not (square and kernel >= stride > 1 and original(stem, "dilation") == (1, 1)):
        raise ValueError(
            f"{_name(model)} starts with {stem}, which cuts no tokens out of images; use a "
            "square kernel, and a stride that is at least 2 and at most the kernel"
        )
    return stem


def retokenize(model: nn.Module, tokens: Tokens) -> None:
    """Set coarser or finer tokens of a network, in place.

    Parameters and their names do not change, so that an optimiser can continue. The stem gets
    another stride, dilation and padding; the rest adapts to the new grid:

    * Images are padded where the new stride does not divide them.
    * Windows of As-ViT become smaller, and fewer where their number does not divide the grid.
    * Further patch convolutions pad a grid that they do not divide.
    * Position embeddings are resampled bicubically in every forward pass.
    * Swin's windows keep their size up to that of the grid, with the biases of the same distances.

    Images have the same size at every stage. At the finest tokens the network equals the plain one
    bit for bit.

    Works for As-ViT, ShiftViT and PSViT; for timm's vision transformers (DeiT), PiT and Swin; and
    for networks without learned positions, such as PVTv2, ConvNeXt and Next-ViT. They may be
    converted by :func:`convert`, or inside a wrapper.

    Args:
        model: The network.
        tokens: One of :func:`token_stages`.

    Raises:
        ValueError: If the network has no such tokens or cannot adapt; it is then unchanged.

    References:
        Chen et al. 2022, "Auto-scaling Vision Transformers without Training", arXiv:2202.11921.
        The adaptation to the grid is ours; the paper does not describe it.
    """
    stages = token_stages(model)
    if tokens not in stages:
        raise ValueError(
            f"{_name(model)} has no tokens of stride and dilation {tuple(tokens)}; "
            f"use one of {', '.join(map(str, stages))}"
        )
    before = tokens_of(model)
    if tokens == before:
        return
    try:
        _set_tokens(model, Tokens(*tokens), coarse=tokens != stages[-1])
    except ValueError:
        _set_tokens(model, before, coarse=before != stages[-1], tried=True)
        raise


def _set_tokens(model: nn.Module, tokens: Tokens, *, coarse: bool, tried: bool = False) -> None:
    """Restore the plain network, then set its tokens.

    Args:
        model: The network, with any tokens.
        tokens: The new tokens.
        coarse: Whether they differ from those of the plain network.
        tried: Whether the network is known to run with them.

    Raises:
        ValueError: If it cannot adapt; some of it is then overridden.
    """
    restore(model)
    stem = stem_of(model)
    if coarse:
        for module in model.modules():
            if _is_patch_convolution(module):
                override(module, __class__=TokenConv2d)
        sides = {name: (value, value) for name, value in tokens._asdict().items()}
        override(stem, __class__=TokenConv2d, **sides)
    adapters = [
        (module, adapt)
        for module in model.modules()
        for kind, adapt in ADAPTERS.items()
        if isinstance(module, kind)
    ]
    for module, adapt in adapters:
        adapt(module, stem, coarse)
    known = adapters or any(isinstance(module, _SIZE_FREE) for module in model.modules())
    if coarse and not known and not tried:
        _dry_run(model, stem, tokens)


def _dry_run(model: nn.Module, stem: nn.Conv2d, tokens: Tokens) -> None:
    """Check on the meta device that a network runs on the new grid, if its image size is known."""
    side = _image_side(model)
    if side is None:
        return
    named = [*model.named_parameters(), *model.named_buffers()]
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in named}
    images = stem.weight.new_empty(2, stem.in_channels, side, side, device="meta")
    try:
        with torch.no_grad():
            functional_call(model, shapes, images)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"{_name(model)} cannot adapt to tokens {tokens}; some part is made for one grid: "
            f"{first_line(error)}"
        ) from error


def _image_side(model: nn.Module) -> int | None:
    """Side of the square images that a network was built for, where it records it."""
    config = getattr(model, "pretrained_cfg", None) or {}  # timm's
    said = [getattr(module, "img_size", None) for module in model.modules()]
    pairs = [size for size in said if isinstance(size, tuple)]
    height, width = (*pairs, config.get("input_size", (3, 0, 1))[1:])[0]
    return int(height) if height == width else None


def _is_patch_convolution(module: nn.Module) -> bool:
    """Whether a module is a convolution over patches without overlap or gaps."""
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == module.stride != (1, 1)
        and module.padding in ((0, 0), "valid")
        and module.dilation == (1, 1)
    )


def _name(model: nn.Module) -> str:
    return cast("str", original(model, "__class__").__name__)

"""Coarser or finer tokens from the same weights: progressive re-tokenization.

The first convolution of a network cuts the image into tokens. At a larger stride there are fewer
of them, and a network takes a fraction of the time; with a dilation to match, the kernel still
reaches over its part of the image, with the weights that it has.
"""

from typing import Final, NamedTuple, cast

import torch
from torch import nn
from torch.func import functional_call

from asvit.models._changes import change, put_back, unchanged
from asvit.models.asvit import AsViT
from asvit.models.layers.embedding import TokenConv2d, same_padding
from asvit.models.position_grids import FOLLOWERS
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
    """How the first convolution of a network cuts an image into tokens.

    Attributes:
        stride: Pixels from one token to the next.
        dilation: Pixels from one that a kernel reads to the next.
    """

    stride: int
    dilation: int

    def __str__(self) -> str:
        return f"({self.stride},{self.dilation})"


#: The published stages of a stem of stride 4, coarse to fine: arXiv:2202.11921.
SCHEDULE: Final = (Tokens(16, 5), Tokens(8, 2), Tokens(4, 1))
_FACTORS: Final = (4, 2, 1)  # by which the stride of any stem grows
_SIZE_FREE: Final = (AsViT, ShiftViT, PSViT)


def patch_padding(kernel: int, tokens: Tokens) -> tuple[int, int]:
    """Zeros left of (and above) the image and right of (and below) it.

    With them there is one token for each ``tokens.stride`` pixels, exactly, of an image whose
    sides it divides. At (4,1) they are those of the plain As-ViT.

    Args:
        kernel: Side of the kernel, in weights.
        tokens: Stride and dilation.
    """
    return same_padding(kernel, tokens.stride, tokens.dilation)


def token_stages(model: nn.Module) -> tuple[Tokens, ...]:
    """The tokens that a network is trained with one after the other, coarse to fine.

    Four times and twice the stride of its stem, then its own. A stem of stride 4 has the published
    :data:`SCHEDULE`. The dilation for other strides is ours: the largest at which a kernel as wide
    as the stride stays inside its cell, which gives the published values at stride 4.

    Args:
        model: The network, at any of them.

    Raises:
        ValueError: If its first convolution does not cut images into tokens.
    """
    stride = unchanged(stem_of(model), "stride")[0]
    return tuple(Tokens(f * stride, (f * stride - 1) // (stride - 1)) for f in _FACTORS)


def tokens_of(model: nn.Module) -> Tokens:
    """The tokens that a network has now.

    Raises:
        ValueError: As :func:`token_stages`.
    """
    stem = stem_of(model)
    return Tokens(stem.stride[0], stem.dilation[0])


def stem_of(model: nn.Module) -> nn.Conv2d:
    """The first convolution of a network, which cuts images into tokens.

    Raises:
        ValueError: If it does not, or there is none.
    """
    stem = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if stem is None:
        raise ValueError(f"{_name(model)} has no convolution that could make coarser tokens")
    if type(stem) not in (nn.Conv2d, TokenConv2d) or stem.padding_mode != "zeros":
        raise ValueError(
            f"{_name(model)} starts with {stem}, whose padding is its own; "
            "only a plain convolution can make coarser tokens"
        )
    (kernel, width), (stride, across) = stem.kernel_size, unchanged(stem, "stride")
    square = kernel == width and stride == across
    if not (square and kernel >= stride > 1 and unchanged(stem, "dilation") == (1, 1)):
        raise ValueError(
            f"{_name(model)} starts with {stem}, which cuts no tokens out of images; use a "
            "square kernel, and a stride that is at least 2 and at most the kernel"
        )
    return stem


def retokenize(model: nn.Module, tokens: Tokens) -> None:
    """Give a network coarser or finer tokens, in place.

    Parameters stay as they are, and so do their names; an optimiser goes on with them. The stem
    changes stride, dilation and padding, nothing else does but what follows from the grid: images
    are padded where the new stride does not divide them; windows of As-ViT become smaller, and
    fewer where their number does not divide the grid; patches of patches, of which an odd grid has
    no whole number, are padded; position embeddings are resampled bicubically in every forward
    pass; Swin's windows keep their size up to that of the grid, with the biases of the same
    distances. Images are those of the plain network, at every stage. At the finest tokens it is
    the plain network again, bit for bit.

    Works for As-ViT, ShiftViT and PSViT, for timm's vision transformers (DeiT), PiT and Swin, and
    for networks without learned positions: PVTv2, ConvNeXt, Next-ViT; also as :func:`convert` made
    them, or inside a wrapper.

    Args:
        model: The network.
        tokens: One of :func:`token_stages`.

    Raises:
        ValueError: If the network has no such tokens or cannot follow; it is then as it was.

    References:
        Chen et al. 2022, "Auto-scaling Vision Transformers without Training", arXiv:2202.11921.
        What follows from the grid is ours; the paper does not say.
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
        _cut(model, Tokens(*tokens), coarse=tokens != stages[-1])
    except ValueError:
        _cut(model, before, coarse=before != stages[-1], tried=True)
        raise


def _cut(model: nn.Module, tokens: Tokens, *, coarse: bool, tried: bool = False) -> None:
    """Make a network the plain one, then change it.

    Args:
        model: The network, at any tokens.
        tokens: Those that it gets.
        coarse: Whether they are not those of the plain one.
        tried: Whether it is known to run with them.

    Raises:
        ValueError: If it cannot follow; it is then changed in part.
    """
    put_back(model)
    stem = stem_of(model)
    if coarse:
        for module in model.modules():
            if _cuts_patches(module):
                change(module, __class__=TokenConv2d)
        sides = {name: (value, value) for name, value in tokens._asdict().items()}
        change(stem, __class__=TokenConv2d, **sides)
    followers = [
        (module, follow)
        for module in model.modules()
        for host, follow in FOLLOWERS.items()
        if isinstance(module, host)
    ]
    for module, follow in followers:
        follow(module, stem, coarse)
    known = followers or any(isinstance(module, _SIZE_FREE) for module in model.modules())
    if coarse and not known and not tried:
        _try(model, stem, tokens)


def _try(model: nn.Module, stem: nn.Conv2d, tokens: Tokens) -> None:
    """Make sure that a network runs on the new grid, as far as its image size is known.

    Nothing is computed: the tensors have shapes and no data.
    """
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
            f"{_name(model)} cannot follow tokens {tokens}; some part of it is made for one grid: "
            f"{first_line(error)}"
        ) from error


def _image_side(model: nn.Module) -> int | None:
    """Side of the square images that a network says it was built for."""
    config = getattr(model, "pretrained_cfg", None) or {}  # timm's
    said = [getattr(module, "img_size", None) for module in model.modules()]
    pairs = [size for size in said if isinstance(size, tuple)]
    height, width = (*pairs, config.get("input_size", (3, 0, 1))[1:])[0]
    return int(height) if height == width else None


def _cuts_patches(module: nn.Module) -> bool:
    """Whether a module is a convolution whose kernels lie side by side."""
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == module.stride != (1, 1)
        and module.padding in ((0, 0), "valid")
        and module.dilation == (1, 1)
    )


def _name(model: nn.Module) -> str:
    return cast("str", unchanged(model, "__class__").__name__)

"""Coarser or finer tokens with the same weights: progressive re-tokenization.

The first convolution of a network, the stem, cuts the image into tokens. At a larger stride there
are fewer tokens; a dilation to match spreads the same kernel over it.
"""

from typing import Any, Final, NamedTuple, cast

from timm.layers import Conv2dSame, Format, PatchEmbed
from timm.models.convnext import ConvNeXt
from timm.models.nextvit import NextViT
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from asvit.models.asvit import AsViT
from asvit.models.blocks import MixedConv2d, MixedConv2dSame
from asvit.models.psvit import PSViT
from asvit.models.shiftvit import ShiftViT

_PLAIN: Final = (nn.Conv2d, MixedConv2d)


class Tokens(NamedTuple):
    """Stride and dilation of the stem in pixels, which determine the tokens."""

    stride: int  # pixels from one token to the next
    dilation: int  # pixels from one weight of the kernel to the next

    def __str__(self) -> str:
        return f"({self.stride},{self.dilation})"


#: The published stages of a stem of stride 4, coarse to fine: arXiv:2202.11921.
SCHEDULE: Final = (Tokens(16, 5), Tokens(8, 2), Tokens(4, 1))
_FACTORS: Final = (4, 2, 1)  # on the stride of any stem
_ADAPTABLE: Final = (
    *(AsViT, ShiftViT, PSViT, VisionTransformer),
    *(PyramidVisionTransformerV2, ConvNeXt, NextViT, ResNet),  # without learned positions
)


def token_stages(model: nn.Module) -> tuple[Tokens, ...]:
    """The tokens of the training stages of a network, coarse to fine.

    The strides are four times and twice that of its stem, then its own. A stem of stride 4 has the
    published :data:`SCHEDULE`. The dilation for other strides is ours: the largest at which a
    kernel as wide as the stride stays inside its cell.
    """
    stride = original(stem_of(model), "stride")[0]
    return tuple(Tokens(f * stride, (f * stride - 1) // (stride - 1)) for f in _FACTORS)


def stem_of(model: nn.Module) -> nn.Conv2d:
    """The first convolution of a network, which must cut images into tokens."""
    stem = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if stem is None:
        raise ValueError(f"{_name(model)} has no convolution that could make coarser tokens")
    (kernel, width), (stride, across) = stem.kernel_size, original(stem, "stride")
    square = kernel == width and stride == across and kernel >= stride > 1
    plain = type(stem) in (*_PLAIN, Conv2dSame, MixedConv2dSame) and stem.padding_mode == "zeros"
    if not (plain and square and original(stem, "dilation") == (1, 1)):
        raise ValueError(
            f"{_name(model)} starts with {stem}, which cuts no tokens out of images; use a plain "
            "convolution with a square kernel, and a stride that is at least 2 and at most the "
            "kernel"
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

    Images have the same size at every stage. At the finest tokens the network equals the plain one
    bit for bit.

    Works for As-ViT, ShiftViT and PSViT, and for timm's vision transformers (DeiT), PVTv2,
    ConvNeXt, Next-ViT and ResNets, also converted or wrapped.

    Args:
        model: The network.
        tokens: One of :func:`token_stages`.

    Raises:
        ValueError: If the network has no such tokens, or cannot adapt and stays plain.

    References:
        Chen et al. 2022, "Auto-scaling Vision Transformers without Training", arXiv:2202.11921.
        The adaptation to the grid is ours; the paper does not describe it.

    Example:
        >>> network = asvit.build("8,2,3|4,1,2|4,1,4|4,1,6|32", image_size=64)
        >>> asvit.retokenize(network, asvit.models.token_stages(network)[0])
        >>> network(torch.randn(1, 3, 64, 64)).shape
        torch.Size([1, 1000])
    """
    stages = token_stages(model)
    if tokens not in stages:
        raise ValueError(
            f"{_name(model)} has no tokens of stride and dilation {tuple(tokens)}; "
            f"use one of {', '.join(map(str, stages))}"
        )
    restore(model)
    if tokens == stages[-1]:
        return
    stem, tokens = stem_of(model), Tokens(*tokens)
    adaptable = [module for module in model.modules() if isinstance(module, _ADAPTABLE)]
    _check(model, adaptable, stem, tokens)
    for module in model.modules():
        if _is_patch_convolution(module):
            override(module, __class__=MixedConv2dSame)
    sides = {name: (value, value) for name, value in tokens._asdict().items()}
    override(stem, __class__=MixedConv2dSame, **sides)
    for module in adaptable:
        if not isinstance(module, VisionTransformer):
            continue
        if type(module.patch_embed) is PatchEmbed:
            override(module.patch_embed, __class__=_CoarsePatches)
        if not module.dynamic_img_size:
            # timm resamples its positions bicubically with antialiasing in every pass.
            override(module, dynamic_img_size=True)
            override(module.patch_embed, flatten=False, output_fmt=Format.NHWC)


class _CoarsePatches(PatchEmbed):  # type: ignore[misc]
    """Patches of a coarse stem, which tell timm's feature maps their grid."""

    def dynamic_feat_size(self, img_size: tuple[int, int]) -> tuple[int, int]:
        return -(-img_size[0] // self.proj.stride[0]), -(-img_size[1] // self.proj.stride[1])


def _check(model: nn.Module, adaptable: list[nn.Module], stem: nn.Conv2d, tokens: Tokens) -> None:
    """Refuse a network some part of which is made for one grid."""
    if not adaptable:
        raise ValueError(f"{_name(model)} cannot adapt to tokens {tokens}; leave them as they are")
    for module in cast("list[Any]", adaptable):
        if isinstance(module, VisionTransformer):
            embed = module.patch_embed
            if not isinstance(embed, PatchEmbed) or embed.proj is not stem:
                raise ValueError(
                    f"{type(module).__name__} makes its tokens by {type(embed).__name__}; "
                    "only a single convolution can be coarser"
                )
        elif isinstance(module, PSViT):  # whose lists must have enough tokens to pool
            sides = (patches * module.patch_size for patches in module.patch_embed.grid)
            try:
                module.check_grid(*(-(-side // tokens.stride) for side in sides))
            except ValueError as error:
                raise ValueError(
                    f"{_name(model)} cannot adapt to tokens {tokens}: {error}"
                ) from error


def _is_patch_convolution(module: nn.Module) -> bool:
    """Whether a module is a convolution over patches without overlap or gaps."""
    return (
        type(module) in _PLAIN
        and module.kernel_size == module.stride != (1, 1)
        and module.padding in ((0, 0), "valid")
        and module.dilation == (1, 1)
    )


def _name(model: nn.Module) -> str:
    return cast("str", original(model, "__class__").__name__)


# In the module itself, so that a deep copy of an adapted network can be restored, too.
_ORIGINALS = "_original_attributes"


def override(module: nn.Module, **values: Any) -> None:
    """Set attributes of a module, possibly its ``__class__``, until :func:`restore`."""
    originals = vars(module).setdefault(_ORIGINALS, {})
    for name, value in values.items():
        originals.setdefault(name, getattr(module, name))
        setattr(module, name, value)


def restore(model: nn.Module) -> None:
    """Undo every :func:`override` in a network."""
    for module in model.modules():
        for name, value in vars(module).pop(_ORIGINALS, {}).items():
            setattr(module, name, value)


def original(module: nn.Module, name: str) -> Any:
    """The value of an attribute before any :func:`override`."""
    return vars(module).get(_ORIGINALS, {}).get(name, getattr(module, name))

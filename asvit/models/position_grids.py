"""Adapts timm models with positions learned on one token grid to another grid, reversibly."""

from collections.abc import Callable
from typing import Any, Final, cast

import torch
from timm.layers import Format, PatchEmbed
from timm.models.pit import PoolingVisionTransformer
from timm.models.swin_transformer import SwinTransformer, get_relative_position_index
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

Adapter = Callable[[Any, nn.Conv2d, bool], None]

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
    originals = vars(module).get(_ORIGINALS, {})
    return originals[name] if name in originals else getattr(module, name)


def adapt_vision_transformer(model: Any, stem: nn.Conv2d, coarse: bool) -> None:
    """Make a vision transformer resample its position embeddings in every forward pass.

    The parameter keeps the plain grid. timm resamples it bicubically with antialiasing, except
    for class and distillation tokens.

    Args:
        model: The network, with only its stem overridden.
        stem: Its first convolution.
        coarse: Whether the stem makes fewer tokens than in the plain network.

    Raises:
        ValueError: If the tokens do not come from the stem alone.
    """
    embed = model.patch_embed
    if not isinstance(embed, PatchEmbed) or embed.proj is not stem:
        raise ValueError(
            f"{type(model).__name__} makes its tokens by {type(embed).__name__}; "
            "only a single convolution can be coarser"
        )
    if coarse and not model.dynamic_img_size:
        override(model, dynamic_img_size=True)
        override(embed, flatten=False, output_fmt=Format.NHWC)


def adapt_pit(model: Any, stem: nn.Conv2d, coarse: bool) -> None:
    """Make a PiT resample its position embeddings as a vision transformer does.

    Arguments and errors as :func:`adapt_vision_transformer`.
    """
    if type(model) is not PoolingVisionTransformer or model.patch_embed.conv is not stem:
        raise ValueError(
            f"{type(model).__name__} is not timm's own PiT; its positions are unknown"
        )
    if coarse:
        override(model, __class__=_CoarsePiT)


class _CoarsePiT(PoolingVisionTransformer):  # type: ignore[misc]
    """PiT with its position embeddings resampled to the grid of its tokens.

    A class like the one that ``torch.nn.utils.parametrize`` makes, but the parameter keeps its
    name.
    """

    @property
    def pos_embed(self) -> Tensor:
        """``[1, dim, h, w]``."""
        learned = cast("Tensor", self._parameters["pos_embed"])
        sides = _tokens(self.patch_embed.img_size, self.patch_embed.conv)
        resampled = F.interpolate(learned.float(), sides, mode="bicubic", antialias=True)
        return resampled.to(learned.dtype)


def adapt_swin(model: Any, stem: nn.Conv2d, coarse: bool) -> None:
    """Keep the windows of a Swin at their size, or at that of a smaller grid.

    A smaller window has the biases of the same distances in the full one, those of its corner. As
    in Swin itself, nothing shifts where one window covers the grid.

    Arguments as :func:`adapt_vision_transformer`.
    """
    rows, columns = _tokens(model.patch_embed.img_size, stem)
    for level, stage in enumerate(model.layers):
        grid = (-(-rows // 2**level), -(-columns // 2**level))
        for block in stage.blocks:
            full = block.window_size
            if coarse:
                _fit_windows(block, grid)
            block.attn.relative_position_index = _corner(
                full, block.window_size, device=block.attn.relative_position_index.device
            )
            block.init_non_persistent_buffers()  # the masks of shifted windows


def _fit_windows(block: Any, grid: tuple[int, int]) -> None:
    """Set the grid of a Swin block, and shrink its windows to it where allowed."""
    override(block, input_resolution=grid)
    if block.always_partition:
        return  # timm pads the grid instead
    sides = list(zip(grid, block.window_size, block.shift_size, strict=True))
    window = tuple(min(side, most) for side, most, _ in sides)
    shift = tuple(step if side > most else 0 for side, most, step in sides)
    area = window[0] * window[1]
    override(block, window_size=window, shift_size=shift, window_area=area)
    override(block.attn, window_size=window, window_area=area)


def _corner(full: tuple[int, int], window: tuple[int, int], device: torch.device) -> Tensor:
    """``[h * w, h * w]``: indices of a window's biases in the table of the full window."""
    index: Tensor = get_relative_position_index(*full, device=device).view(*full, *full)
    height, width = window
    corner = index[:height, :width, :height, :width].reshape(height * width, height * width)
    return corner.contiguous()  # timm views it as a vector


def _tokens(image: tuple[int, int], stem: nn.Conv2d) -> tuple[int, int]:
    """Tokens along the sides of an image."""
    return -(-image[0] // stem.stride[0]), -(-image[1] // stem.stride[1])


#: Kind of network with learned positions -> its adapter.
ADAPTERS: Final[dict[type[nn.Module], Adapter]] = {
    VisionTransformer: adapt_vision_transformer,
    PoolingVisionTransformer: adapt_pit,
    SwinTransformer: adapt_swin,
}

"""How networks of timm whose positions are learned on one grid follow their tokens to another."""

from collections.abc import Callable
from typing import Any, Final, cast

import torch
from timm.layers import Format, PatchEmbed
from timm.models.pit import PoolingVisionTransformer
from timm.models.swin_transformer import SwinTransformer, get_relative_position_index
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.models._changes import change

Follow = Callable[[Any, nn.Conv2d, bool], None]


def follow_vision_transformer(model: Any, stem: nn.Conv2d, coarse: bool) -> None:
    """Let a vision transformer resample its position embeddings in every forward pass.

    The embeddings stay those of the plain grid. timm resamples them bicubically, with
    antialiasing, and leaves those of class and distillation tokens alone.

    Args:
        model: The network, with nothing of it changed but the stem.
        stem: Its first convolution.
        coarse: Whether the stem makes fewer tokens than the plain network has.

    Raises:
        ValueError: If something else than the stem makes the tokens.
    """
    embed = model.patch_embed
    if not isinstance(embed, PatchEmbed) or embed.proj is not stem:
        raise ValueError(
            f"{type(model).__name__} makes its tokens by {type(embed).__name__}; "
            "only a single convolution can be coarser"
        )
    if coarse and not model.dynamic_img_size:
        change(model, dynamic_img_size=True)
        change(embed, flatten=False, output_fmt=Format.NHWC)


def follow_pit(model: Any, stem: nn.Conv2d, coarse: bool) -> None:
    """Let a PiT resample its position embeddings, as those of a vision transformer are.

    Arguments and errors as :func:`follow_vision_transformer`.
    """
    if type(model) is not PoolingVisionTransformer or model.patch_embed.conv is not stem:
        raise ValueError(
            f"{type(model).__name__} is not timm's own PiT; its positions are unknown"
        )
    if coarse:
        change(model, __class__=_CoarsePiT)


class _CoarsePiT(PoolingVisionTransformer):  # type: ignore[misc]
    """PiT whose position embeddings come at the grid of its tokens.

    A class of its own, as ``torch.nn.utils.parametrize`` would make one; but the parameter keeps
    its name.
    """

    @property
    def pos_embed(self) -> Tensor:
        """``[1, dim, h, w]``."""
        learned = cast("Tensor", self._parameters["pos_embed"])
        sides = _tokens(self.patch_embed.img_size, self.patch_embed.conv)
        resampled = F.interpolate(learned.float(), sides, mode="bicubic", antialias=True)
        return resampled.to(learned.dtype)


def follow_swin(model: Any, stem: nn.Conv2d, coarse: bool) -> None:
    """Let the windows of a Swin keep their size, but for grids that are smaller.

    The biases of a smaller window are those of the same distances in the full one: a window at its
    corner. As in Swin itself, nothing shifts where one window covers the grid.

    Arguments as :func:`follow_vision_transformer`.
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
    """Tell a Swin block its grid, and let its windows shrink to it if they may."""
    change(block, input_resolution=grid)
    if block.always_partition:
        return  # timm pads the grid instead
    sides = list(zip(grid, block.window_size, block.shift_size, strict=True))
    window = tuple(min(side, most) for side, most, _ in sides)
    shift = tuple(step if side > most else 0 for side, most, step in sides)
    area = window[0] * window[1]
    change(block, window_size=window, shift_size=shift, window_area=area)
    change(block.attn, window_size=window, window_area=area)


def _corner(full: tuple[int, int], window: tuple[int, int], device: torch.device) -> Tensor:
    """``[h * w, h * w]``: where the biases of a window stand in the table of the full one."""
    index: Tensor = get_relative_position_index(*full, device=device).view(*full, *full)
    height, width = window
    corner = index[:height, :width, :height, :width].reshape(height * width, height * width)
    return corner.contiguous()  # timm views it as a vector


def _tokens(image: tuple[int, int], stem: nn.Conv2d) -> tuple[int, int]:
    """Tokens along the sides of an image."""
    return -(-image[0] // stem.stride[0]), -(-image[1] // stem.stride[1])


#: Networks with learned positions, and what makes them follow.
FOLLOWERS: Final[dict[type[nn.Module], Follow]] = {
    VisionTransformer: follow_vision_transformer,
    PoolingVisionTransformer: follow_pit,
    SwinTransformer: follow_swin,
}

"""PSViT in timm's registry, in sizes of our own: the paper gives its sizes in no usable form."""

from collections.abc import Mapping
from dataclasses import dataclass

from timm.layers import resample_abs_pos_embed
from torch import Tensor

from asvit.models._registration import register_networks
from asvit.models.psvit import Pooling, PSViT

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """Settings of one size.

    Attributes:
        pooling: Whether tokens are a list or a grid.
        cells: Cells of each stage.
        dims: Width of each stage.
        heads: Attention heads of each stage.
    """

    pooling: Pooling
    cells: tuple[str, ...]
    dims: tuple[int, ...]
    heads: tuple[int, ...]


#: Name in timm -> preset. Widths, heads and depths are ours, not the paper's.
PRESETS: Mapping[str, Preset] = {
    "psvit_1d_tiny": Preset("1d", ("bbbb", "bbbb", "bbbb"), (192, 256, 384), (3, 4, 6)),
    "psvit_1d_tiny_shared": Preset("1d", ("ss", "ss", "ss"), (192, 256, 384), (3, 4, 6)),
    "psvit_1d_base": Preset("1d", ("bbbb", "bbbb", "bbbb"), (768, 1024, 1536), (12, 16, 24)),
    "psvit_2d_tiny": Preset("2d", ("bb", "bbbb", "bbbbb"), (96, 192, 384), (3, 6, 12)),
    "psvit_2d_base": Preset("2d", ("bb", "bbbb", "bbbbbb"), (384, 768, 1536), (6, 12, 24)),
}

_POSITIONS = "patch_embed.pos_embed"


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: PSViT) -> dict[str, Tensor]:
    """A checkpoint with its position embeddings resampled for the image size of ``model``.

    Args:
        state: Names to tensors, of a network for square images.
        model: The network to load it into.
    """
    fitted = dict(state)
    wanted = model.patch_embed
    if _POSITIONS in fitted and fitted[_POSITIONS].shape != wanted.pos_embed.shape:
        fitted[_POSITIONS] = resample_abs_pos_embed(
            fitted[_POSITIONS], list(wanted.grid), num_prefix_tokens=wanted.prefix
        )
    return fitted


register_networks(
    __name__,
    PSViT,
    {name: vars(preset) for name, preset in PRESETS.items()},
    {
        "psvit_1d_tiny": "Lists of 197, 99 and 50 tokens, 4 layers each: 12.8 M parameters, 1.2 G "
        "multiply-adds.",
        "psvit_1d_tiny_shared": "The same in pairs that share attention: 11.8 M parameters, 1.0 G "
        "multiply-adds.",
        "psvit_1d_base": "Four times as wide as tiny: 197 M parameters, 17 G multiply-adds.",
        "psvit_2d_tiny": "Grids of 28, 14 and 7 tokens per side: 12.2 M parameters, 1.3 G "
        "multiply-adds.",
        "psvit_2d_base": "Four times as wide as tiny and one layer more: 217 M parameters, 19 G "
        "multiply-adds.",
    },
    levels=lambda own: 1 if own["pooling"] == "1d" else len(own["cells"]),
    filter_fn=checkpoint_filter_fn,
    fixed_input_size=True,
    pool_size=None,
    paper_ids="arXiv:2108.03428",
    paper_name="PSViT: Better Vision Transformer via Token Pooling and Attention Sharing",
)

"""Layers of the networks."""

from asvit.models.layers.blocks import Mlp
from asvit.models.layers.embedding import PatchEmbedding, ReEmbedding
from asvit.models.layers.windows import (
    Block,
    Stage,
    WindowAttention,
    join_windows,
    split_windows,
)

__all__ = [
    "Block",
    "Mlp",
    "PatchEmbedding",
    "ReEmbedding",
    "Stage",
    "WindowAttention",
    "join_windows",
    "split_windows",
]

"""Layers of the networks."""

from asvit.models.layers.blocks import SelfAttention
from asvit.models.layers.embedding import PatchEmbedding, ReEmbedding
from asvit.models.layers.windows import Block, Stage, join_windows, split_windows

__all__ = [
    "Block",
    "PatchEmbedding",
    "ReEmbedding",
    "SelfAttention",
    "Stage",
    "join_windows",
    "split_windows",
]

"""The parts that the networks are put together from."""

from asvit.models.layers.embedding import PatchEmbedding, ReEmbedding
from asvit.models.layers.mlp import Mlp
from asvit.models.layers.stage import Block, Stage
from asvit.models.layers.windows import WindowAttention, join_windows, split_windows

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

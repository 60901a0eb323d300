"""Search spaces, and networks from any architecture text."""

from asvit.core.extensions import load_extensions
from asvit.spaces.architectures import StageRow, build, cost, stage_table
from asvit.spaces.asvit import AsVitSpace, AsVitTinySpace
from asvit.spaces.base import (
    SPACES,
    PlainArchitecture,
    PlainSpace,
    SearchSpace,
    load_space,
    register_space,
)
from asvit.spaces.mixed import MixedSpace
from asvit.spaces.psvit import PSViT1dSpace, PSViT2dSpace
from asvit.spaces.shiftvit import ShiftViTSpace

__all__ = [
    "SPACES",
    "AsVitSpace",
    "AsVitTinySpace",
    "MixedSpace",
    "PSViT1dSpace",
    "PSViT2dSpace",
    "PlainArchitecture",
    "PlainSpace",
    "SearchSpace",
    "ShiftViTSpace",
    "StageRow",
    "build",
    "cost",
    "load_space",
    "register_space",
    "stage_table",
]

load_extensions()  # last: they import what is above

"""Search spaces, and networks from any architecture text."""

from asvit.core.extensions import load_extensions
from asvit.spaces.architectures import StageRow, build, cost, stage_table
from asvit.spaces.asvit import AsVitPartsSpace, AsVitSpace, AsVitTinySpace
from asvit.spaces.base import (
    SPACES,
    PlainArchitecture,
    PlainSpace,
    SearchSpace,
    load_space,
    register_space,
)
from asvit.spaces.psvit import PSViT1dSpace, PSViT2dSpace
from asvit.spaces.shiftvit import ShiftViTPartsSpace, ShiftViTSpace
from asvit.spaces.timm_families import TIMM_FAMILIES, TimmFamily, TimmSpace
from asvit.spaces.union import UnionSpace

__all__ = [
    "SPACES",
    "TIMM_FAMILIES",
    "AsVitPartsSpace",
    "AsVitSpace",
    "AsVitTinySpace",
    "PSViT1dSpace",
    "PSViT2dSpace",
    "PlainArchitecture",
    "PlainSpace",
    "SearchSpace",
    "ShiftViTPartsSpace",
    "ShiftViTSpace",
    "StageRow",
    "TimmFamily",
    "TimmSpace",
    "UnionSpace",
    "build",
    "cost",
    "load_space",
    "register_space",
    "stage_table",
]

#: Those that did best where trainings were short; a design in a hurry races the first ones.
_FIRST = ("resnet-parts", "resnet", "shiftvit-parts", "repvit", "asvit-parts", "starnet")
SPACES.register("families", UnionSpace([*dict.fromkeys((*_FIRST, *TIMM_FAMILIES))], "families"))

load_extensions()  # last: they import what is above

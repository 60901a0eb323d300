"""Search spaces, and networks from any architecture text."""

from asvit.core.extensions import load_extensions
from asvit.spaces.architectures import StageRow, build, cost, stage_table
from asvit.spaces.base import SPACES, SearchSpace, UnionSpace, load_space, register_space
from asvit.spaces.own import AsVitSpace  # the first, whose texts have no prefix
from asvit.spaces.plain import PlainArchitecture, PlainSpace
from asvit.spaces.timm_models import TIMM_FAMILIES, TimmFamily, TimmSpace

__all__ = [
    "SMALL_FAMILIES",
    "SPACES",
    "TIMM_FAMILIES",
    "AsVitSpace",
    "PlainArchitecture",
    "PlainSpace",
    "SearchSpace",
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

for _name, _family in TIMM_FAMILIES.items():
    SPACES.register(_name, TimmSpace(_name, _family))

_ONLY_SMALL = ("resnet-small",)
#: Those that did best where trainings were short; a design in a hurry races the first ones.
_FIRST = ("resnet-parts", "resnet", "shiftvit-parts", "repvit", "asvit-parts", "starnet")
_LARGE = dict.fromkeys((*_FIRST, *(name for name in TIMM_FAMILIES if name not in _ONLY_SMALL)))
SPACES.register("families", UnionSpace([*_LARGE], "families"))

#: Those for pictures of less than 64 px; they race where they take them.
SMALL_FAMILIES = (*_ONLY_SMALL, *(name for name in _LARGE if not name.startswith("resnet")))

load_extensions()  # last: they import what is above

"""Training-free architecture search and auto-scaling of vision transformers."""

from importlib import import_module
from typing import TYPE_CHECKING

from asvit._timm import register_with_timm
from asvit._version import __version__

if TYPE_CHECKING:
    from asvit.genotype import Genotype
    from asvit.models import convert, merge
    from asvit.runs import build_reference, run_correlation, run_scaling, run_search
    from asvit.spaces import build, cost, load_space

# Name -> module that defines it. Heavy imports wait until a name is used.
_LAZY = {
    "Genotype": "asvit.genotype",
    "build": "asvit.spaces",
    "build_reference": "asvit.runs",
    "convert": "asvit.models",
    "cost": "asvit.spaces",
    "load_space": "asvit.spaces",
    "merge": "asvit.models",
    "run_correlation": "asvit.runs",
    "run_scaling": "asvit.runs",
    "run_search": "asvit.runs",
}

__all__ = [
    "Genotype",
    "__version__",
    "build",
    "build_reference",
    "convert",
    "cost",
    "load_space",
    "merge",
    "run_correlation",
    "run_scaling",
    "run_search",
]

register_with_timm()


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__

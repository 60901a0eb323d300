"""Training-free architecture search and auto-scaling of vision transformers."""

from importlib import import_module

from asvit._version import __version__

# Name -> module that defines it. Heavy imports wait until a name is used.
_LAZY = {
    "Genotype": "asvit.genotype",
    "build": "asvit.spaces",
    "cost": "asvit.spaces",
    "load_space": "asvit.spaces",
    "run_search": "asvit.runs",
}

__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__

"""Training-free architecture search and auto-scaling of vision transformers."""

from importlib import import_module
from typing import TYPE_CHECKING

from asvit._timm import register_with_timm
from asvit._version import __version__

if TYPE_CHECKING:
    from asvit.genotype import Genotype
    from asvit.models import convert, merge, retokenize
    from asvit.networks import backbone
    from asvit.predictor import Predictor, cross_validate
    from asvit.reference.build_result import BuildResult
    from asvit.runs import (
        CorrelationResult,
        EvolutionResult,
        ScaleResult,
        SearchResult,
        SupernetResult,
        build_reference,
        evolve_supernet,
        export_network,
        run_correlation,
        run_scaling,
        run_search,
        run_training,
        score,
        train_supernet,
    )
    from asvit.spaces import build, cost, load_space
    from asvit.training.result import TrainResult

# Name -> module that defines it. Heavy imports wait until a name is used.
_LAZY = {
    "BuildResult": "asvit.reference.build_result",
    "CorrelationResult": "asvit.runs",
    "EvolutionResult": "asvit.runs",
    "Genotype": "asvit.genotype",
    "Predictor": "asvit.predictor",
    "ScaleResult": "asvit.runs",
    "SearchResult": "asvit.runs",
    "SupernetResult": "asvit.runs",
    "TrainResult": "asvit.training.result",
    "backbone": "asvit.networks",
    "build": "asvit.spaces",
    "build_reference": "asvit.runs",
    "convert": "asvit.models",
    "cost": "asvit.spaces",
    "cross_validate": "asvit.predictor",
    "evolve_supernet": "asvit.runs",
    "export_network": "asvit.runs",
    "load_space": "asvit.spaces",
    "merge": "asvit.models",
    "retokenize": "asvit.models",
    "run_correlation": "asvit.runs",
    "run_scaling": "asvit.runs",
    "run_search": "asvit.runs",
    "run_training": "asvit.runs",
    "score": "asvit.runs",
    "train_supernet": "asvit.runs",
}

__all__ = [
    "BuildResult",
    "CorrelationResult",
    "EvolutionResult",
    "Genotype",
    "Predictor",
    "ScaleResult",
    "SearchResult",
    "SupernetResult",
    "TrainResult",
    "__version__",
    "backbone",
    "build",
    "build_reference",
    "convert",
    "cost",
    "cross_validate",
    "evolve_supernet",
    "export_network",
    "load_space",
    "merge",
    "retokenize",
    "run_correlation",
    "run_scaling",
    "run_search",
    "run_training",
    "score",
    "train_supernet",
]

register_with_timm()


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__

"""Architecture search, scaling, design and training of vision transformers."""

from importlib import import_module

from asvit._packages import import_own_packages
from asvit._timm import register_with_timm
from asvit._version import __version__

# Heavy imports wait until a name is used. Type checkers read __init__.pyi, which
# `python -m experiments.stubs` writes.
_LAZY = {
    "CorrelationResult": "asvit.reference.result",
    "DesignResult": "asvit.designs.result",
    "DetectionResult": "asvit.transfer.settings",
    "EvaluationResult": "asvit.use.result",
    "EvolutionResult": "asvit.search.evolution",
    "Genotype": "asvit.architectures.genotype",
    "Predictor": "asvit.predictor",
    "ScaleResult": "asvit.growth.result",
    "SearchResult": "asvit.search.result",
    "SegmentationResult": "asvit.transfer.settings",
    "SupernetResult": "asvit.training.supernet_result",
    "TrainResult": "asvit.training.result",
    "backbone": "asvit.networks.pyramid",
    "build": "asvit.spaces",
    "compare": "asvit.runs.comparing",
    "convert": "asvit.models",
    "cost": "asvit.spaces",
    "cross_validate": "asvit.predictor",
    "design": "asvit.runs.designing",
    "evolve_supernet": "asvit.runs.supernet",
    "export_network": "asvit.export.exporting",
    "latency": "asvit.runs.timing",
    "load_space": "asvit.spaces",
    "merge": "asvit.models",
    "predict": "asvit.use.predicting",
    "retokenize": "asvit.models",
    "run_correlation": "asvit.runs.correlation",
    "run_detection": "asvit.runs.transfer",
    "run_scaling": "asvit.runs.scaling",
    "run_search": "asvit.runs.search",
    "run_segmentation": "asvit.runs.transfer",
    "run_training": "asvit.runs.training",
    "score": "asvit.runs.scoring",
    "test": "asvit.runs.evaluating",
    "train_supernet": "asvit.runs.supernet",
}

__all__ = ["__version__", *_LAZY]

import_own_packages()
import_module("proxies.registry").PROXIES.entries.append("asvit.measuring.timing")
register_with_timm()


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__

"""Training-free architecture search and auto-scaling of vision transformers."""

from importlib import import_module
from typing import TYPE_CHECKING

from asvit._packages import import_own_packages
from asvit._timm import register_with_timm
from asvit._version import __version__

if TYPE_CHECKING:
    from asvit.designs import DesignResult as DesignResult
    from asvit.genotype import Genotype as Genotype
    from asvit.growth import ScaleResult as ScaleResult
    from asvit.models import convert as convert
    from asvit.models import merge as merge
    from asvit.models import retokenize as retokenize
    from asvit.networks.pyramid import backbone as backbone
    from asvit.predictor import Predictor as Predictor
    from asvit.predictor import cross_validate as cross_validate
    from asvit.reference.build_result import BuildResult as BuildResult
    from asvit.reference.result import CorrelationResult as CorrelationResult
    from asvit.runs.correlation import run_correlation as run_correlation
    from asvit.runs.designing import design as design
    from asvit.runs.evolution import evolve_supernet as evolve_supernet
    from asvit.runs.exporting import export_network as export_network
    from asvit.runs.mapping import attention_maps as attention_maps
    from asvit.runs.predicting import predict as predict
    from asvit.runs.reference import build_reference as build_reference
    from asvit.runs.scaling import run_scaling as run_scaling
    from asvit.runs.scoring import score as score
    from asvit.runs.search import run_search as run_search
    from asvit.runs.supernet import train_supernet as train_supernet
    from asvit.runs.timing import latency as latency
    from asvit.runs.training import run_training as run_training
    from asvit.runs.transfer import run_detection as run_detection
    from asvit.runs.transfer import run_segmentation as run_segmentation
    from asvit.search.result import SearchResult as SearchResult
    from asvit.search.supernet_result import EvolutionResult as EvolutionResult
    from asvit.spaces import build as build
    from asvit.spaces import cost as cost
    from asvit.spaces import load_space as load_space
    from asvit.training.result import TrainResult as TrainResult
    from asvit.training.supernets.settings import SupernetResult as SupernetResult
    from asvit.transfer.settings import DetectionResult as DetectionResult
    from asvit.transfer.settings import SegmentationResult as SegmentationResult

# Heavy imports wait until a name is used.
_DEFINED_IN = {
    "asvit.designs": ["DesignResult"],
    "asvit.genotype": ["Genotype"],
    "asvit.growth": ["ScaleResult"],
    "asvit.models": ["convert", "merge", "retokenize"],
    "asvit.networks.pyramid": ["backbone"],
    "asvit.predictor": ["Predictor", "cross_validate"],
    "asvit.reference.build_result": ["BuildResult"],
    "asvit.reference.result": ["CorrelationResult"],
    "asvit.runs.correlation": ["run_correlation"],
    "asvit.runs.designing": ["design"],
    "asvit.runs.evolution": ["evolve_supernet"],
    "asvit.runs.exporting": ["export_network"],
    "asvit.runs.mapping": ["attention_maps"],
    "asvit.runs.predicting": ["predict"],
    "asvit.runs.reference": ["build_reference"],
    "asvit.runs.scaling": ["run_scaling"],
    "asvit.runs.scoring": ["score"],
    "asvit.runs.search": ["run_search"],
    "asvit.runs.supernet": ["train_supernet"],
    "asvit.runs.timing": ["latency"],
    "asvit.runs.training": ["run_training"],
    "asvit.runs.transfer": ["run_detection", "run_segmentation"],
    "asvit.search.result": ["SearchResult"],
    "asvit.search.supernet_result": ["EvolutionResult"],
    "asvit.spaces": ["build", "cost", "load_space"],
    "asvit.training.result": ["TrainResult"],
    "asvit.training.supernets.settings": ["SupernetResult"],
    "asvit.transfer.settings": ["DetectionResult", "SegmentationResult"],
}
_LAZY = {name: module for module, names in _DEFINED_IN.items() for name in names}

__all__ = ["__version__", *_LAZY]

import_own_packages()
register_with_timm()


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'asvit' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__

"""Controllers by name: what proposes the next architecture of a search.

A controller is an Optuna sampler, so storage, resuming and plots come with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from asvit.search.settings import PREDICTOR, SearchSettings
from proxies.registry import Registry
from scaling.ranking import Directions

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

Dimensions = Mapping[str, Sequence[int | float | str]]
Make = Callable[[Dimensions, Directions, SearchSettings], "BaseSampler"]


@dataclass(frozen=True)
class Controller:
    """A way to search."""

    name: str  #: what ``--controller`` takes
    description: str  #: one line
    paper: str  #: where it was published
    make: Make  #: dimensions, directions of the objectives and settings to its sampler


#: Every controller by its name.
CONTROLLERS: Registry[Controller] = Registry("controller")


def register(name: str, description: str, *, paper: str) -> Callable[[Make], Make]:
    """Add a controller under ``name``; its libraries are imported when it is made."""

    def add(make: Make) -> Make:
        CONTROLLERS.register(name, Controller(name, description, paper, make), make)
        return make

    return add


def get_controller(name: str) -> Controller:
    """The controller called ``name``."""
    return CONTROLLERS[name]


def _own(place: str) -> Make:
    """The maker of a sampler of ours, by ``module:name``."""
    return lambda *args: resolve_name(place)(*args)


def _reseeded(place: str) -> Make:
    """The maker of a sampler that knows nothing but the study, by ``module:name``."""

    def make(_space: Dimensions, _ways: object, settings: SearchSettings) -> BaseSampler:
        from asvit.search.sampler import ReseededSampler

        kind, repeats = resolve_name(place), getattr(settings, "seeds", 1)
        return ReseededSampler(lambda seed: kind(seed=seed), seed=settings.seed, repeats=repeats)

    return make


register(
    "reinforce",
    "policy gradient on a joint categorical policy",
    paper="arXiv:2202.11921",
)(_own("asvit.search.sampler:ReinforceSampler"))
register(
    "random",
    "uniform draws, the baseline that any search should beat",
    paper="Bergstra and Bengio 2012, JMLR 13",
)(_reseeded("optuna.samplers:RandomSampler"))
register(
    "evolution",
    "aging evolution: mutate the best of a few, let the oldest die",
    paper="arXiv:1802.01548",
)(_own("asvit.search.sampler:AgingEvolutionSampler"))
register(
    "tpe",
    "tree-structured Parzen estimators for several objectives, from Optuna",
    paper="Bergstra et al. 2011, NeurIPS; Ozaki et al. 2022, JAIR 73",
)(_reseeded("optuna.samplers:TPESampler"))
register(
    "nsga2",
    "the genetic algorithm NSGA-II for several objectives, from Optuna",
    paper="Deb et al. 2002, IEEE TEC 6(2)",
)(_reseeded("asvit.search.sampler:OrderedNSGAIISampler"))
register(
    PREDICTOR,
    "short trainings, chosen by a Gaussian process that learns from them",
    paper="White et al. 2021, arXiv:2104.01177; Srinivas et al. 2010, arXiv:0912.3995",
)(_own("asvit.search.predictor_sampler:PredictorSampler"))

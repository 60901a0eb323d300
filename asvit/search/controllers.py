"""Controllers by name: what proposes the next architecture of a search.

A controller is an Optuna sampler, so storage, resuming and plots come with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from asvit.search.settings import SearchSettings
from proxies.registry import Registry
from scaling.ranking import Directions

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

Dimensions = Mapping[str, Sequence[int | float | str]]
Make = Callable[[Dimensions, Directions, SearchSettings], "BaseSampler"]
M = TypeVar("M", bound=Make)


@dataclass(frozen=True)
class Controller:
    """A way to search."""

    name: str  #: what ``--controller`` takes
    description: str  #: one line
    paper: str  #: where it was published
    make: Make  #: dimensions, directions of the objectives and settings to its sampler


#: Every controller by its name.
CONTROLLERS: Registry[Controller] = Registry(
    "controller", entries=("asvit.search.sampler", "asvit.search.predictor_sampler")
)


def register(name: str, description: str, *, paper: str) -> Callable[[M], M]:
    """Add a controller under ``name``: a sampler, or what makes one."""

    def add(make: M) -> M:
        CONTROLLERS.register(name, Controller(name, description, paper, make), make)
        return make

    return add


def get_controller(name: str) -> Controller:
    """The controller called ``name``."""
    return CONTROLLERS[name]

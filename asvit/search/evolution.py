"""Settings, table and result of an evolution over the paths of a supernet."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import ClassVar

from asvit.core.files import read_text
from asvit.core.results import Result
from asvit.core.run_files import TRIALS
from asvit.core.settings import (
    SEED,
    Presets,
    Settings,
    presets_with,
    setting,
    settings_class,
)
from asvit.core.tables import csv_text, read_table
from asvit.training.supernet_result import PathAccuracies
from scaling.budget import parse_amount


@settings_class
class EvolutionSettings(Settings):
    """Settings of an evolution. Two runs with equal settings and weights give equal winners.

    The paper gives none of these numbers. The defaults are those of AutoFormer's published search;
    the limit of the multiply-adds is ours, after the models that the paper compares with.

    References:
        Chen et al. 2021, "AutoFormer: Searching Transformers for Visual Recognition",
        arXiv:2107.00651.
    """

    presets: ClassVar[Presets] = presets_with(
        quick={
            "population": 20,
            "generations": 5,
            "keep": 5,
            "crossovers": 10,
            "mutations": 10,
        }
    )

    population: int = setting(50, "Paths in a generation.", at_least=1)
    generations: int = setting(20, "Generations, the random first one included.", at_least=1)
    keep: int = setting(10, "Best paths so far that serve as parents.", at_least=1)
    crossovers: int = setting(
        25, "Crossovers in a generation: each cell comes from either parent.", at_least=0
    )
    mutations: int = setting(25, "Mutations in a generation.", at_least=0)
    mutation_probability: float = setting(
        0.2, "Probability that a mutation redraws a cell.", metavar="N", at_least=0, at_most=1
    )
    max_macs: int | None = setting(
        None,
        "Most multiply-adds of a path, as 20M or 1.3G.",
        metavar="N",
        convert=parse_amount,
        parse=parse_amount,
        shown="those of the DeiT of its size",
    )
    seed: int = SEED

    def check(self) -> None:
        """Check that the children fit in a generation."""
        if self.crossovers + self.mutations > self.population:
            raise ValueError(
                f"{self.crossovers} crossovers and {self.mutations} mutations do not fit in a "
                f"population of {self.population}; use fewer, or a larger population"
            )


#: A path: the cells of every stage, one letter a cell.
Cells = tuple[str, ...]
VALIDATION, TEST = "validation", "test"  # images


@dataclass(frozen=True)
class Generation:
    """One generation in numbers; accuracies on the validation images, per cent."""

    generation: int  #: which one, from 1
    paths: int
    best: float  #: highest accuracy of one of them
    median: float  #: their median accuracy
    best_so_far: float  #: highest accuracy of a path of any generation up to it


@dataclass(frozen=True)
class PathRow:
    """A path of an evolution: a row of ``trials.csv``."""

    number: int  #: its place in the order of evaluation, from 0
    generation: int  #: its generation, from 1
    origin: str  #: how it was made: ``"random"``, ``"crossover"`` or ``"mutation"``
    architecture: str  #: text of the network that it is
    path: str  #: its cells, stage by stage
    macs: int  #: multiply-adds of one image
    validation: float = math.nan  #: accuracy on the validation images, per cent; NaN before

    @property
    def cells(self) -> Cells:
        """The cells of every stage."""
        return tuple(self.path.split("|"))


@dataclass(frozen=True, kw_only=True)
class EvolutionResult(Result):
    """The result of an evolution.

    Example:
        >>> supernet = asvit.train_supernet(
        ...     train_images=60, validation_images=40, test_images=40, image_size=32, width=24,
        ...     epochs=1, batch_size=30, out="supernet",
        ... )
        >>> result = asvit.evolve_supernet(
        ...     "supernet", population=4, generations=2, keep=2, crossovers=1, mutations=1,
        ...     out="evolution",
        ... )
        >>> result.space
        'psvit2d'
    """

    kind = "evolution"
    noun = "evolution"
    provenance_keys = ("supernet", "images", "device", "versions", "command")
    rows_in = "trials"

    settings: EvolutionSettings
    space: str  #: space of the paths
    architecture: str  #: text of the network that it ended in, as :func:`asvit.build` takes it
    #: Its cells, stage by stage; where the identities are tells which weights it inherits.
    path: str
    params: int  #: parameters of the network, with the classes of the images
    macs: int  #: multiply-adds of one image
    validation: float  #: accuracy with inherited weights on the images it was chosen by, per cent
    test: float  #: the same on images that nothing was chosen by
    generations: Sequence[Generation]  #: one row a generation
    #: The random first generation with the same weights, by the name of the images.
    random: Mapping[str, PathAccuracies]
    evaluated: int  #: paths evaluated in all generations
    reason: str  #: why the last generations are missing; empty where none is

    @cached_property
    def paths(self) -> Sequence[PathRow]:
        """Every path, in the order of evaluation, as ``trials.csv`` has them."""
        path = self.folder / TRIALS
        try:
            return read_paths(read_text(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def generations_of(rows: Sequence[PathRow]) -> list[Generation]:
    """The generations of these paths in numbers, in order."""
    generations: list[Generation] = []
    generation = attrgetter("generation")
    for number, group in groupby(sorted(rows, key=generation), generation):
        accuracies = [row.validation for row in group]
        best, median = max(accuracies), statistics.median(accuracies)
        so_far = max([best, *(last.best_so_far for last in generations[-1:])])
        generations.append(Generation(number, len(accuracies), best, median, so_far))
    return generations


def first_generation(rows: Sequence[PathRow]) -> list[PathRow]:
    """The random paths that an evolution began with."""
    return [row for row in rows if row.generation == 1]


def write_paths(rows: Sequence[PathRow]) -> str:
    """The table of these rows."""
    return csv_text([[field.name for field in fields(PathRow)], *map(astuple, rows)])


def read_paths(text: str) -> list[PathRow]:
    """Undo :func:`write_paths`."""
    columns = [field.name for field in fields(PathRow)]

    def read(_header: list[str], cells: list[str]) -> PathRow:
        number, generation, origin, architecture, path, macs, validation = cells
        own = int(number), int(generation), origin, architecture, path
        return PathRow(*own, int(macs), float(validation))

    return read_table(text, "paths", columns, (), read)[1]

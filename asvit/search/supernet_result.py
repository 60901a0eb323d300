"""Journal, table and result of an evolution over the paths of a supernet."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Any, ClassVar, Literal, TypedDict

from asvit.core.codec import to_json, value_from_json
from asvit.core.files import read_text
from asvit.core.journal import Journal
from asvit.core.results import Result
from asvit.core.run_files import TRIALS
from asvit.core.tables import csv_text, read_table
from asvit.search.supernet_settings import EvolutionSettings
from asvit.training.supernet_result import PathAccuracies

#: A path: the cells of every stage, one letter a cell.
Cells = tuple[str, ...]
Part = Literal["validation", "test"]


class SupernetOrigin(TypedDict):
    """The supernet whose weights are inherited."""

    folder: str
    digest: str


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a path with inherited weights, per cent."""

    part: Part
    path: Cells
    accuracy: float


@dataclass(frozen=True)
class Generation:
    """One generation in numbers; accuracies on the validation images, per cent."""

    generation: int  #: which one, from 1
    paths: int
    best: float  #: highest accuracy of one of them
    median: float  #: their median accuracy
    best_so_far: float  #: highest accuracy of a path of any generation up to it


@dataclass(frozen=True)
class Winner:
    """The path that an evolution ended in."""

    architecture: str  #: text of the network that it is, as :func:`asvit.build` takes it
    #: Its cells, stage by stage; where the identities are tells which weights it inherits.
    path: str
    params: int  #: parameters of the network, with the classes of the images
    macs: int  #: multiply-adds of one image
    validation: float  #: accuracy with inherited weights on the images it was chosen by, per cent
    test: float  #: the same on images that nothing was chosen by


@dataclass(frozen=True)
class RandomPaths:
    """Random paths with the same inherited weights, to compare the winner with."""

    validation: PathAccuracies  #: on the images that the winner was chosen by
    test: PathAccuracies  #: on the images that nothing was chosen by


@dataclass(frozen=True)
class PathRow:
    """A path of an evolution: a row of ``trials.csv``."""

    number: int  #: its place in the order of evaluation, from 0
    generation: int  #: its generation, from 1
    origin: str  #: how it was made: ``"random"``, ``"crossover"`` or ``"mutation"``
    architecture: str  #: text of the network that it is
    path: str  #: its cells, stage by stage
    macs: int  #: multiply-adds of one image
    #: Accuracy with inherited weights on the validation images, per cent; NaN before it is
    #: evaluated.
    validation: float = math.nan

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
        ...     random_paths=2, out="evolution",
        ... )
        >>> result.space
        'psvit2d'
    """

    kind = "evolution"
    noun = "evolution"
    provenance_keys = ("supernet", "images", "device", "versions", "command")
    hidden = ("winner", "in_window", "anywhere")
    rows_in = "trials"

    settings: EvolutionSettings
    space: str  #: space of the paths
    winner: Winner  #: the path that it ended in
    generations: Sequence[Generation]  #: one row a generation
    in_window: RandomPaths  #: the random first generation, whose paths cost what the winner may
    anywhere: RandomPaths  #: paths drawn as training draws them, of any cost
    deit_macs: int  #: multiply-adds of the DeiT of the supernet's size
    evaluated: int  #: paths evaluated in all generations
    reason: str  #: why the last generations are missing; empty where none is

    def __post_init__(self) -> None:
        if self.settings.max_macs is None:
            raise ValueError("its limit of multiply-adds is missing")

    @cached_property
    def paths(self) -> Sequence[PathRow]:
        """Every path, in the order of evaluation, as ``trials.csv`` has them.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it cannot be read.
        """
        path = self.folder / TRIALS
        try:
            return read_paths(read_text(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def random_paths(self) -> Mapping[str, RandomPaths]:
        """The random paths by what they are, in words."""
        return {"within the limit": self.in_window, "of any cost": self.anywhere}

    def derived(self) -> Mapping[str, Any]:
        """The winner's values, and the random paths under one key."""
        random = {"in_window": to_json(self.in_window), "anywhere": to_json(self.anywhere)}
        return {**to_json(self.winner), "random": random}

    @classmethod
    def unfold(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """The winner's values and the random paths as fields."""
        value_from_json(content["supernet"], SupernetOrigin)
        random = {name: content["random"][name] for name in ("in_window", "anywhere")}
        return {**content, "winner": content, **random}


class AccuracyJournal(Journal[EvolutionSettings]):
    """``accuracies.jsonl``: the settings, and every accuracy with inherited weights so far.

    All else follows: evolving again with these accuracies evaluates nothing twice and takes the
    same way.
    """

    result_type = EvolutionResult
    start_types: ClassVar[Mapping[str, Any]] = {"supernet": SupernetOrigin, "device": str}
    record_types = (Accuracy,)

    def __init__(self, *args: Any) -> None:
        self._accuracies: dict[tuple[Part, Cells], float] = {}
        super().__init__(*args)

    def get(self, part: Part, path: Cells) -> float | None:
        """The accuracy of a path on a part of the images, per cent; None while unknown."""
        return self._accuracies.get((part, path))

    def note(self, record: Accuracy) -> None:
        """Take note of the accuracy of a path."""
        self._accuracies[record.part, record.path] = record.accuracy


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
    """The random paths that an evolution began with.

    Under a tight limit the first generations may find none; these are then of a later one.
    """
    first = min((row.generation for row in rows), default=0)
    return [row for row in rows if row.generation == first]


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

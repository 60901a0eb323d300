"""The result of an evolution over the paths of a supernet, and its table of paths."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

from asvit.core.codec import to_json, value_from_json
from asvit.core.results import Result
from asvit.search.supernet_journal import Retrained, SupernetOrigin
from asvit.search.supernet_settings import EvolutionSettings
from asvit.training.supernets.result import PathAccuracies

if TYPE_CHECKING:
    from asvit.search.supernet_evolution import Candidate


@dataclass(frozen=True)
class Generation:
    """One generation in numbers; accuracies on the validation images, per cent.

    Attributes:
        generation: Which one, from 1.
        paths: Paths in it.
        best: Highest accuracy of one of them.
        median: Their median accuracy.
        best_so_far: Highest accuracy of a path of any generation up to it.
    """

    generation: int
    paths: int
    best: float
    median: float
    best_so_far: float


@dataclass(frozen=True)
class Winner:
    """The path that an evolution ended in.

    Attributes:
        architecture: Text of the network that it is, as :func:`asvit.build` takes it.
        path: Its cells, stage by stage; where the identities are tells which weights it inherits.
        params: Parameters of the network, with the classes of the images.
        macs: Multiply-adds of one image.
        validation: Accuracy with inherited weights on the images it was chosen by, per cent.
        test: The same on images that nothing was chosen by.
    """

    architecture: str
    path: str
    params: int
    macs: int
    validation: float
    test: float


@dataclass(frozen=True)
class RandomPaths:
    """Random paths with the same inherited weights, to compare the winner with.

    Attributes:
        validation: On the images that the winner was chosen by.
        test: On the images that nothing was chosen by.
    """

    validation: PathAccuracies
    test: PathAccuracies


@dataclass(frozen=True, kw_only=True)
class EvolutionResult(Result):
    """The result of an evolution.

    Attributes:
        space: Space of the paths.
        winner: The path that it ended in.
        generations: One row a generation.
        in_window: The random first generation, whose paths cost what the winner may.
        anywhere: Paths drawn as training draws them, of any cost.
        deit_macs: Multiply-adds of the DeiT of the supernet's size.
        evaluated: Paths evaluated in all generations.
        reason: Why there are fewer generations than asked for; empty where there are not.
        retrained: The outcome of training the winner from scratch; None where it was not asked.
    """

    kind = "evolution"
    noun = "evolution"
    provenance_keys = ("supernet", "images", "device", "versions", "command")
    hidden = ("winner", "in_window", "anywhere")

    settings: EvolutionSettings
    space: str
    winner: Winner
    generations: Sequence[Generation]
    in_window: RandomPaths
    anywhere: RandomPaths
    deit_macs: int
    evaluated: int
    reason: str
    retrained: Retrained | None

    def __post_init__(self) -> None:
        if self.settings.max_macs is None:
            raise ValueError("its limit of multiply-adds is missing")

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


def generations_of(candidates: Sequence[Candidate]) -> list[Generation]:
    """The generations of these candidates in numbers, in order."""
    rows: list[Generation] = []
    for number in sorted({one.generation for one in candidates}):
        found = [one.fitness for one in candidates if one.generation == number]
        best = max(found)
        so_far = max([best, *(row.best_so_far for row in rows[-1:])])
        rows.append(Generation(number + 1, len(found), best, statistics.median(found), so_far))
    return rows


@dataclass(frozen=True)
class PathRow:
    """A row of ``trials.csv``: a path that was evaluated.

    Attributes:
        number: Its place in the order of evaluation, from 0.
        generation: Its generation, from 1.
        origin: How it was made: ``"random"``, ``"crossover"`` or ``"mutation"``.
        architecture: Text of the network that it is.
        path: Its cells, stage by stage.
        macs: Multiply-adds of one image.
        validation: Accuracy on the validation images, per cent.
    """

    number: int
    generation: int
    origin: str
    architecture: str
    path: str
    macs: int
    validation: float

    @classmethod
    def of(cls, number: int, candidate: Candidate) -> PathRow:
        """The row of a candidate."""
        one, path = candidate, "|".join(candidate.path)
        return cls(
            number, one.generation + 1, one.origin, one.architecture, path, one.macs, one.fitness
        )


def write_paths(rows: Sequence[PathRow]) -> str:
    """The table of these rows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([field.name for field in fields(PathRow)])
    writer.writerows(map(astuple, rows))
    return buffer.getvalue()


def read_paths(text: str) -> list[PathRow]:
    """Undo :func:`write_paths`.

    Raises:
        ValueError: If it is no such table.
    """
    try:
        return [
            PathRow(
                number=int(row["number"]),
                generation=int(row["generation"]),
                origin=row["origin"],
                architecture=row["architecture"],
                path=row["path"],
                macs=int(row["macs"]),
                validation=float(row["validation"]),
            )
            for row in csv.DictReader(io.StringIO(text))
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no table of paths: {error!r}") from error

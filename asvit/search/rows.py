"""What evaluating an architecture gave, as a row of ``trials.csv``, and the best of many rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, cast, get_args

from asvit.core.codec import Nullable
from asvit.core.files import read_text, write_text
from asvit.core.tables import csv_text, read_table
from proxies.registry import Score
from proxies.text import shown
from scaling.ranking import Better, Directions, rank_sums

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

State = Literal["complete", "failed"]

BEST = 10  # architectures worth a look

_BEFORE = ["number", "architecture", "params", "macs"]
_AFTER = ["reward", "entropy", "state", "reason"]


@dataclass(frozen=True)
class Measurement:
    """Size and measures of one architecture."""

    params: int
    macs: int  #: multiply-adds of one image
    values: Mapping[str, Nullable]  #: measure to value; NaN where it failed
    reasons: Mapping[str, str]  #: measure to why it failed, for those that did

    @classmethod
    def from_scores(cls, params: int, macs: int, scores: Mapping[str, Score]) -> Self:
        """Take the mean values of ``scores``; a value that is not finite has failed."""
        failed = {name: score for name, score in scores.items() if not math.isfinite(score.value)}
        values = {
            n: math.nan if n in failed else float(score.value) for n, score in scores.items()
        }
        reasons = {
            name: " ".join((score.reason or f"the value is {score.value}").split())
            for name, score in failed.items()
        }
        return cls(params, macs, values, reasons)

    @property
    def reason(self) -> str:
        """Every failure in one line; empty if there was none."""
        return "; ".join(f"{name}: {why}" for name, why in self.reasons.items())


@dataclass(frozen=True)
class TrialRow:
    """One measured architecture."""

    number: int  #: place among the measured trials, from 0
    architecture: str  #: its text
    params: int
    macs: int  #: multiply-adds of one image
    values: Mapping[str, Nullable]  #: measure to value; NaN where it failed
    #: Windowed change of the objectives, dimensionless; a failure counts in it as the worst value
    #: seen so far.
    reward: Nullable
    entropy: Nullable  #: joint entropy in nats of the policy that drew it; NaN without a policy
    state: State  #: ``"failed"`` if any of its measures failed
    reason: str  #: why, else empty


Trials = Sequence[TrialRow]
# A function of the user's, which measures the architecture of a text. Where it stands for
# trainings, it may take a ``seed``, too.
Evaluate = Callable[..., Measurement]


def without_sizes(measures: Iterable[str]) -> list[str]:
    """The measures that need a column of their own: all but params and macs."""
    return [name for name in measures if name not in _BEFORE]


def write_trials(path: Path, rows: Trials, measures: Sequence[str]) -> None:
    """Write ``rows`` to the CSV file ``path`` as a whole or not at all."""
    columns = without_sizes(measures)
    cells: list[list[object]] = [[*_BEFORE, *columns, *_AFTER]]
    for row in rows:
        own: dict[str, object] = {**row.values, **vars(row)}
        numbers = [repr(float(cast("float", own[name]))) for name in (*columns, *_AFTER[:2])]
        cells.append([*(own[name] for name in _BEFORE), *numbers, row.state, row.reason])
    write_text(path, csv_text(cells))


def read_trials(path: Path, measures: Sequence[str] = ()) -> list[TrialRow]:
    """Read the rows of the CSV file ``path``.

    ``measures`` are their names, where they are known: params and macs are columns of every table,
    whether they were among the measures or not.
    """

    def read(header: list[str], cells: list[str]) -> TrialRow:
        own = dict(zip(header, cells, strict=True))
        sizes = [name for name in ("params", "macs") if name in measures]
        names = [*header[len(_BEFORE) : -len(_AFTER)], *sizes]
        if own["state"] not in get_args(State):
            raise ValueError(f"state must be one of {get_args(State)}, got {shown(own['state'])}")
        return TrialRow(
            *(int(own["number"]), own["architecture"], int(own["params"]), int(own["macs"])),
            {name: float(own[name]) for name in names},
            *(float(own["reward"]), float(own["entropy"])),
            *(cast("State", own["state"]), own["reason"]),
        )

    try:
        return read_table(read_text(path), "trials", _BEFORE, _AFTER, read)[1]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def objectives(better: Directions) -> dict[str, Better]:
    """The measures with a direction, in their order."""
    return {name: way for name, way in better.items() if way != "reported"}


def best_rows(
    rows: Trials, better: Directions, *, count: int = BEST, front: bool = False
) -> list[TrialRow]:
    """Up to ``count`` distinct architectures with the smallest sums of dense ranks, best first.

    None has failed in an objective; of equals the earlier comes first. ``front``: those that no
    other one beats come before all others.
    """
    goals = objectives(better)
    distinct: dict[str, TrialRow] = {}
    for row in rows:
        if all(math.isfinite(row.values[name]) for name in goals):
            distinct.setdefault(row.architecture, row)
    valid = list(distinct.values())
    sums = rank_sums({name: [row.values[name] for row in valid] for name in goals}, goals)
    beaten = [False] * len(valid)
    if front:
        points = [[row.values[name] for name in goals] for row in valid]
        beaten = [not on for on in non_dominated(points, list(goals.values()))]
    places = sorted(range(len(valid)), key=lambda place: (beaten[place], sums[place]))
    return [valid[place] for place in places[:count]]


def non_dominated(
    points: Sequence[Sequence[float]], better: Sequence[Better]
) -> NDArray[np.bool_]:
    """Which points no other one beats: as good in every measure, and better in one.

    ``[points, measures] -> [points]``, of finite values. A measure that is merely reported decides
    nothing.
    """
    import numpy as np  # too slow to import for --help

    sign = [{"higher": -1.0, "lower": 1.0, "reported": 0.0}[way] for way in better]
    costs = np.array(points).reshape(len(points), len(sign)) * sign + 0.0  # lower is better; no -0
    distinct, place = np.unique(costs, axis=0, return_inverse=True)
    best = np.ones(len(distinct), dtype=bool)
    # In the order of the first cost, then of the next: no point beats one that comes before it.
    for point in range(len(distinct)):
        if best[point]:
            best[point + 1 :] &= (distinct[point + 1 :] < distinct[point]).any(axis=1)
    front: NDArray[np.bool_] = best[place.reshape(-1)]  # numpy 2.0 gives it two dimensions
    return front

"""What evaluating an architecture gave, as the study keeps it, and as a row of ``trials.csv``."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, cast, get_args

from asvit.core.codec import Nullable
from asvit.core.files import read_text, write_text
from asvit.core.tables import csv_text, read_table
from proxies.registry import Score
from proxies.text import shown

State = Literal["complete", "failed"]

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
        numbers = {**row.values, "reward": row.reward, "entropy": row.entropy}
        own = {**vars(row), **{name: repr(float(value)) for name, value in numbers.items()}}
        sizes = [row.number, row.architecture, row.params, row.macs]
        cells.append([*sizes, *(own[name] for name in (*columns, *_AFTER))])
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
            number=int(own["number"]),
            architecture=own["architecture"],
            params=int(own["params"]),
            macs=int(own["macs"]),
            values={name: float(own[name]) for name in names},
            reward=float(own["reward"]),
            entropy=float(own["entropy"]),
            state=cast("State", own["state"]),
            reason=own["reason"],
        )

    try:
        return read_table(read_text(path), "trials", _BEFORE, _AFTER, read)[1]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

"""The series of models that growth leaves: steps with their candidates, rows and CSV."""

from __future__ import annotations

import csv
import io
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scaling.budget import Budget

if TYPE_CHECKING:
    from proxies.counts import Cost
    from proxies.evaluation import Score

Kind = Literal["start", "grow", "land"]
Name = Callable[[tuple[int, ...], int], str]


@dataclass(frozen=True)
class Candidate:
    """A model that growth looked at.

    Attributes:
        depths: Blocks in each stage.
        width: Channels of the first stage.
        measured_width: Width at which it was measured.
        cost: Parameters and multiply-adds at its full width.
        scores: Measure to score.
        rank_sum: Sum of its dense ranks among the candidates of its step; None for the start.
    """

    depths: tuple[int, ...]
    width: int
    measured_width: int
    cost: Cost
    scores: Mapping[str, Score]
    rank_sum: int | None = None


@dataclass(frozen=True)
class Step:
    """One step of growth.

    Attributes:
        number: Its place; 0 is the start.
        kind: ``"start"``; ``"grow"`` for a step of the paper's rule; ``"land"`` for a finer last
            one that ends inside the tolerance.
        chosen: The model it ends in.
        candidates: What it was chosen from, itself included; empty for the start.
    """

    number: int
    kind: Kind
    chosen: Candidate
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Trajectory:
    """A whole growth, from the start to the budget.

    Attributes:
        budget: Where growth was to end.
        stop_within: How close to it, as a share of it.
        steps: The steps, the start first; parameters increase strictly.
        reason: Why the end is not that close; empty where it is.
    """

    budget: Budget
    stop_within: float
    steps: tuple[Step, ...]
    reason: str = ""

    @property
    def reached(self) -> bool:
        """Whether the last model is as close to the budget as asked."""
        return not self.reason

    def nearest(self, budget: Budget) -> Step:
        """The step whose model is nearest to ``budget``; the smaller of two equally near."""
        return min(self.steps, key=lambda step: abs(budget.gap(step.chosen.cost)))

    def rows(self, name: Name | None = None, *, candidates: bool = False) -> list[Row]:
        """The models as rows: those of the series, or every candidate.

        Args:
            name: Depths and width to the text of a model.
            candidates: All candidates, step by step, instead of the chosen ones.
        """
        return rows_of(self.steps, name, candidates=candidates)


@dataclass(frozen=True)
class Row:
    """A model as tables and files show it.

    Attributes:
        step: Number of the step.
        kind: Kind of the step.
        architecture: Text of the model.
        depths: Blocks in each stage.
        width: Channels of the first stage.
        measured_width: Width at which it was measured.
        params: Parameters.
        macs: Multiply-adds of one image.
        values: Measure to value; NaN where it failed.
        rank_sum: Sum of its ranks in its step; None for the start.
        chosen: Whether its step ended in it.
        reason: Why a measure failed, else empty.
    """

    step: int
    kind: str
    architecture: str
    depths: tuple[int, ...]
    width: int
    measured_width: int
    params: int
    macs: int
    values: Mapping[str, float]
    rank_sum: int | None
    chosen: bool
    reason: str


_LONGEST = 200  # characters of a message that may repeat a cell

_BEFORE = (
    "step", "kind", "architecture", "depths", "width", "measured_width", "params", "macs",
)  # fmt: skip
_AFTER = ("rank_sum", "chosen", "reason")


def rows_of(
    steps: Iterable[Step], name: Name | None = None, *, candidates: bool = False
) -> list[Row]:
    """The rows of some steps; see :meth:`Trajectory.rows`."""
    return [
        _row(step, candidate, name or _plain_name)
        for step in steps
        for candidate in ((step.candidates or (step.chosen,)) if candidates else (step.chosen,))
    ]


def to_csv(rows: Sequence[Row]) -> str:
    """A table with one line a row; depths are ``1,1,2,1``, what is absent is empty or ``nan``."""
    measures = list(rows[0].values) if rows else []
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*_BEFORE, *measures, *_AFTER])
    for row in rows:
        writer.writerow(
            [row.step, row.kind, row.architecture, ",".join(map(str, row.depths))]
            + [row.width, row.measured_width, row.params, row.macs]
            + [repr(float(row.values[name])) for name in measures]
            + ["" if row.rank_sum is None else row.rank_sum, int(row.chosen), row.reason]
        )
    return buffer.getvalue()


def from_csv(text: str) -> list[Row]:
    """Read the rows of :func:`to_csv` back.

    Raises:
        ValueError: If it is no such table; the message names the line.
    """
    reader = csv.reader(io.StringIO(text))
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise ValueError(f"not a table of a scaling: {error}") from error
    measures = header[len(_BEFORE) : -len(_AFTER)]
    if header != [*_BEFORE, *measures, *_AFTER]:
        raise ValueError(f"not a table of a scaling: its columns are {reprlib.repr(header)}")
    try:
        return [_parsed(cells, measures) for cells in reader]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {reader.line_num}: {str(error)[:_LONGEST]}") from error


def _parsed(cells: Sequence[str], measures: Sequence[str]) -> Row:
    step, kind, architecture, depths, width, measured, params, macs, *rest = cells
    *values, rank_sum, chosen, reason = rest
    return Row(
        step=int(step),
        kind=kind,
        architecture=architecture,
        depths=tuple(int(depth) for depth in depths.split(",")),
        width=int(width),
        measured_width=int(measured),
        params=int(params),
        macs=int(macs),
        values={n: float(v) for n, v in zip(measures, values, strict=True)},
        rank_sum=int(rank_sum) if rank_sum else None,
        chosen=chosen == "1",
        reason=reason,
    )


def _row(step: Step, candidate: Candidate, name: Name) -> Row:
    scores = candidate.scores
    return Row(
        step=step.number,
        kind=step.kind,
        architecture=name(candidate.depths, candidate.width),
        depths=candidate.depths,
        width=candidate.width,
        measured_width=candidate.measured_width,
        params=candidate.cost.params,
        macs=candidate.cost.macs,
        values={n: score.value for n, score in scores.items() if n not in ("params", "macs")},
        rank_sum=candidate.rank_sum,
        chosen=candidate is step.chosen,
        reason="; ".join(
            f"{n}: {' '.join(score.reason.split())}" for n, score in scores.items() if score.reason
        ),
    )


def _plain_name(depths: tuple[int, ...], width: int) -> str:
    return f"{','.join(map(str, depths))}|{width}"

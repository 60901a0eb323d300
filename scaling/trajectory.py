"""The models that growth produces: steps with candidates, as rows and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from scaling.budget import Budget
from scaling.shapes import Shape

if TYPE_CHECKING:
    from proxies import Cost, Score

Kind = Literal["start", "grow", "land"]
NameOf = Callable[[tuple[int, ...], int], str]  # of depths and a width to the text of a model


@dataclass(frozen=True)
class Candidate:
    """A model that growth considered."""

    depths: tuple[int, ...]  #: blocks in each stage
    width: int  #: channels of the first stage
    measured_width: int  #: width at which it was measured
    cost: Cost  #: parameters and multiply-adds at its full width
    scores: Mapping[str, Score]  #: score of each measure
    #: Sum of its dense ranks among the candidates of its step; None for the start.
    rank_sum: int | None = None

    @property
    def shape(self) -> Shape:
        """Depths and width."""
        return Shape(self.depths, self.width)


@dataclass(frozen=True)
class Step:
    """One step of growth."""

    number: int  #: index of the step; 0 is the start
    #: ``"start"``; ``"grow"`` for a step by the paper's rule; ``"land"`` for a finer final step
    #: that ends within the tolerance.
    kind: Kind
    chosen: Candidate  #: the chosen model
    #: All candidates, the chosen one included; empty for the start.
    candidates: tuple[Candidate, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Trajectory:
    """A whole growth, from the start to the budget."""

    budget: Budget  #: target size
    stop_within: float  #: tolerance, as a fraction of the budget
    steps: tuple[Step, ...]  #: the steps, beginning with the start; parameters increase strictly
    reason: str = ""  #: why growth ended outside the tolerance; empty if it did not

    @property
    def reached(self) -> bool:
        """Whether the last model is within the tolerance of the budget."""
        return not self.reason

    def rows(self, name: NameOf | None = None, *, candidates: bool = False) -> list[Row]:
        """As :func:`rows_of` gives its steps."""
        return rows_of(self.steps, name, candidates=candidates)


@dataclass(frozen=True)
class Row:
    """A model as a row of a table or file."""

    step: int  #: number of the step
    kind: str  #: kind of the step
    architecture: str  #: text of the model
    depths: tuple[int, ...]  #: blocks in each stage
    width: int  #: channels of the first stage
    measured_width: int  #: width at which it was measured
    params: int  #: parameters
    macs: int  #: multiply-adds of one image
    #: Value of each measure, but those called like a column, as width; NaN if it failed.
    values: Mapping[str, float]
    rank_sum: int | None  #: sum of its ranks in its step; None for the start
    chosen: bool  #: whether the step chose it
    reason: str  #: why a measure failed; empty if none did

    @property
    def latency(self) -> float:
        """Milliseconds of a forward pass; a KeyError unless the budget is a time."""
        return self.values["latency"]


_FIELDS = list(Row.__dataclass_fields__)


def rows_of(
    steps: Iterable[Step], name: NameOf | None = None, *, candidates: bool = False
) -> list[Row]:
    """The chosen models, or all candidates, step by step, as rows.

    ``name`` maps depths and width to the text of a model.
    """
    return [
        _row(step, candidate, name or _plain_name)
        for step in steps
        for candidate in (candidates and step.candidates) or (step.chosen,)
    ]


def cells_of(rows: Sequence[Row]) -> list[list[object]]:
    """Cells of a CSV, the header first; depths are ``1,1,2,1``, missing values None or ``nan``."""
    measures = list(rows[0].values) if rows else []
    place = _FIELDS.index("values")
    columns = [*_FIELDS[:place], *measures, *_FIELDS[place + 1 :]]
    cells: list[list[object]] = [[*columns]]
    for row in rows:
        fields = {**vars(row), **{name: repr(float(row.values[name])) for name in measures}}
        fields |= {"depths": ",".join(map(str, row.depths)), "chosen": int(row.chosen)}
        cells.append([fields[name] for name in columns])
    return cells


def _row(step: Step, candidate: Candidate, name: NameOf) -> Row:
    scores, cost = candidate.scores, candidate.cost
    failures = [f"{n}: {' '.join(s.reason.split())}" for n, s in scores.items() if s.reason]
    return Row(
        step=step.number,
        kind=step.kind,
        architecture=name(*candidate.shape),
        depths=candidate.depths,
        width=candidate.width,
        measured_width=candidate.measured_width,
        params=cost.params,
        macs=cost.macs,
        values={n: score.value for n, score in scores.items() if n not in _FIELDS},
        rank_sum=candidate.rank_sum,
        chosen=candidate is step.chosen,
        reason="; ".join(failures),
    )


def _plain_name(depths: tuple[int, ...], width: int) -> str:
    return f"{','.join(map(str, depths))}|{width}"

"""What a scaling has measured, and what it ended in."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from asvit.core.codec import StoredScore, to_json
from asvit.core.results import Result
from asvit.growth.settings import ScaleSettings
from asvit.measuring.latency import Latency
from asvit.reference.findings import Reliability
from scaling import Budget, Row


@dataclass(frozen=True, kw_only=True)
class ScaleResult(Result):
    """What a scaling ended in.

    Example:
        >>> result = asvit.run_scaling(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", budget="3M", stop_within=0.1,
        ...     image_size=32, images=2, points=3, repeats=1, out="scaling",
        ... )
        >>> [row.step for row in result.series][0]
        0
    """

    kind = "scale"
    noun = "scaling"
    provenance_keys = ("seed_run", "images", "device", "versions", "command")
    hidden = ("series", "candidates")
    rows_in = "steps"

    settings: ScaleSettings
    space: str  #: space of the architectures
    series: Sequence[Row]  #: one row a step, the start first; parameters increase strictly
    candidates: Sequence[Row]  #: one row a candidate, step by step; the start is its own
    reason: str  #: why the end is not as near to the largest budget as asked; empty where it is
    reliability: Reliability | None = None  #: how well the measures rank a reference table
    #: Time of a forward pass of the last model, taken again in a process of its own, where the
    #: budgets are times.
    latency: Latency | None = None

    @property
    def reached(self) -> bool:
        """Whether the end is as near to the largest budget as asked."""
        return not self.reason

    def nearest(self) -> list[tuple[Budget, Row]]:
        """The model of the series nearest to each budget; the smaller of two equally near."""
        each = zip(self.settings.limits, self.settings.targets, strict=True)
        return [
            (budget, min(self.series, key=lambda row: abs(target.gap(row))))
            for budget, target in each
        ]

    def facts(self) -> dict[str, Any]:
        """As the base has them, with the measures of the last model."""
        return {**super().facts(), **self.series[-1].values}

    def derived(self) -> Mapping[str, Any]:
        """The last model, the nearest to each budget, and the steps with their candidates."""
        nearest = [
            {"budget": str(budget), "step": row.step, **_model(row), "below": budget.gap(row)}
            for budget, row in self.nearest()
        ]
        tried = [row for row in self.candidates if row.kind != "start"]
        steps = [
            {**_columns(row), "candidates": [_columns(c) for c in tried if c.step == row.step]}
            for row in self.series
        ]
        return {
            "seed_architecture": self.settings.architecture,
            "budget": self.settings.budgets[-1],
            "reached": self.reached,
            **_model(self.series[-1]),
            "nearest": nearest,
            "steps": steps,
        }

    @classmethod
    def unfold(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """The steps as the series and the candidates."""
        series, candidates = list[dict[str, Any]](), list[dict[str, Any]]()
        for step in content["steps"]:
            series.append(_nested(step))
            candidates += [_nested(row) for row in step["candidates"]] or series[-1:]
        if len({frozenset(row["values"]) for row in (*series, *candidates)}) > 1:
            raise ValueError("its steps and candidates differ in their columns")
        return {**content, "series": series, "candidates": candidates}


def _model(row: Row) -> dict[str, Any]:
    return {"architecture": row.architecture, "params": row.params, "macs": row.macs}


def _columns(row: Row) -> dict[str, Any]:
    """A row as in the tables: its measures beside the other columns."""
    content = to_json(row)
    measures = content.pop("values")
    return {**content, **measures}


def _nested(columns: Mapping[str, Any]) -> dict[str, Any]:
    own = {*(field.name for field in fields(Row)), "candidates"}
    values = {k: math.nan if v is None else v for k, v in columns.items() if k not in own}
    return {**columns, "values": values}


@dataclass(frozen=True)
class Measured:
    """The scores of a shape."""

    depths: tuple[int, ...]
    width: int
    scores: Mapping[str, StoredScore]

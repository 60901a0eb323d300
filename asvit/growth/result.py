"""The result of a scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from asvit.core.codec import flattened, to_json
from asvit.core.results import Result
from asvit.growth.settings import ScaleSettings
from asvit.reference.findings import Reliability
from scaling import Budget, Row

flattened("values")(Row)


@dataclass(frozen=True, kw_only=True)
class ScaleResult(Result):
    """What a scaling ended in.

    Attributes:
        space: Space of the architectures.
        series: One row a step, the start first; parameters increase strictly.
        candidates: One row a candidate, step by step; the start is its own.
        reason: Why the end is not as near to the largest budget as asked; empty where it is.
        reliability: How well the measures rank a reference table, where one was asked for.
    """

    kind = "scale"
    noun = "scaling"
    provenance_keys = ("seed_run", "images", "device", "versions", "command")
    hidden = ("series", "candidates")
    rows_in = "steps"
    also_called: ClassVar[Mapping[str, str]] = {"trajectory": "growth"}

    settings: ScaleSettings
    space: str
    series: Sequence[Row]
    candidates: Sequence[Row]
    reason: str
    reliability: Reliability | None = None

    @property
    def reached(self) -> bool:
        """Whether the end is as near to the largest budget as asked."""
        return not self.reason

    def nearest(self) -> list[tuple[Budget, Row]]:
        """The model of the series nearest to each budget; the smaller of two equally near."""
        return [
            (budget, min(self.series, key=lambda row: abs(budget.gap(row))))
            for budget in self.settings.limits
        ]

    def facts(self) -> dict[str, Any]:
        """As the base has them, with the measures of the last model."""
        return {**super().facts(), **self.series[-1].values}

    def derived(self) -> Mapping[str, Any]:
        """The last model, the nearest to each budget, and the steps with their candidates."""
        last = self.series[-1]
        return {
            "seed_architecture": self.settings.architecture,
            "budget": self.settings.budgets[-1],
            "reached": self.reached,
            "architecture": last.architecture,
            "params": last.params,
            "macs": last.macs,
            "nearest": [
                {
                    "budget": str(budget),
                    "step": row.step,
                    "architecture": row.architecture,
                    "params": row.params,
                    "macs": row.macs,
                    "below": budget.gap(row),
                }
                for budget, row in self.nearest()
            ],
            "steps": [
                {
                    **to_json(row),
                    "candidates": [
                        to_json(one)
                        for one in self.candidates
                        if one.step == row.step and row.kind != "start"
                    ],
                }
                for row in self.series
            ],
        }

    @classmethod
    def unfold(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """The steps as the series and the candidates."""
        series = [
            {k: v for k, v in step.items() if k != "candidates"} for step in content["steps"]
        ]
        candidates = [
            one
            for step, row in zip(content["steps"], series, strict=True)
            for one in (step["candidates"] or [row])
        ]
        return {**content, "series": series, "candidates": candidates}

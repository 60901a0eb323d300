"""The result of a scaling, and its form in result.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asvit.growth import ScaleSettings
from asvit.growth.journal import KIND, SCHEMA_VERSION
from asvit.runs.correlation.told import reliability_from_json
from asvit.runs.result_file import StoredResult
from scaling import Budget, Row

PROVENANCE = ("seed_run", "images", "device", "versions", "command")


@dataclass(frozen=True)
class ScaleResult(StoredResult, kind=KIND, schema=SCHEMA_VERSION, what="a scaling"):
    """What a scaling ended in.

    Attributes:
        folder: Run folder.
        space: Space of the architectures.
        series: One row a step, the start first; parameters increase strictly.
        candidates: One row a candidate, step by step; the start is its own.
        reason: Why the end is not as near to the largest budget as asked; empty where it is.
        wall_seconds: Wall-clock time of all sessions.
        settings: Settings of the scaling.
        provenance: The search that the seed came from, image source and digest, device, versions
            and the command.
        next_command: What to type next.
        reliability: How well the measures rank a reference table, where one was asked; see
            :func:`asvit.runs.correlation.reliability.reliability`.
    """

    folder: Path
    space: str
    series: Sequence[Row]
    candidates: Sequence[Row]
    reason: str
    wall_seconds: float
    settings: ScaleSettings
    provenance: Mapping[str, Any]
    next_command: str
    reliability: Mapping[str, Any] | None = None

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

    def to_json(self) -> dict[str, Any]:
        """The content of result.json, in the types of strict JSON: None for NaN."""
        last = self.series[-1]
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "space": self.space,
            "seed_architecture": self.settings.architecture,
            "budget": self.settings.budgets[-1],
            "reached": self.reached,
            "reason": self.reason,
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
                    **row.to_json(),
                    "candidates": [
                        one.to_json()
                        for one in self.candidates
                        if one.step == row.step and row.kind != "start"
                    ],
                }
                for row in self.series
            ],
            "wall_seconds": round(self.wall_seconds, 3),
            "settings": self.settings.to_json(),
            **self.provenance,
            "next_command": self.next_command,
            **({} if self.reliability is None else {"reliability": dict(self.reliability)}),
        }

    @classmethod
    def _from_json(cls, content: Mapping[str, Any], folder: Path) -> Self:
        return cls(
            folder=folder,
            space=content["space"],
            series=[Row.from_json(step) for step in content["steps"]],
            candidates=[
                Row.from_json(one)
                for step in content["steps"]
                for one in (step["candidates"] or [step])
            ],
            reason=content["reason"],
            wall_seconds=content["wall_seconds"],
            settings=ScaleSettings.from_json(content["settings"]),
            provenance={name: content[name] for name in PROVENANCE},
            next_command=content["next_command"],
            reliability=reliability_from_json(content.get("reliability")),
        )

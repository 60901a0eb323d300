"""The result of a search, and its form in result.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asvit.runs.judging import reliability_from_json
from asvit.runs.result_file import StoredResult
from asvit.search import SearchSettings, TrialRow
from asvit.search.rows import finite, without_sizes

SCHEMA_VERSION = 1
KIND = "search"


@dataclass(frozen=True)
class SearchResult(StoredResult, kind=KIND, schema=SCHEMA_VERSION, what="a search"):
    """What a search ended in.

    Attributes:
        folder: Run folder.
        seed_architecture: Text of the architecture: the policy's likeliest, or the best measured
            one by rank sum for a controller without a policy.
        params: Its parameters.
        macs: Its multiply-adds for one image.
        values: Its measures by name; NaN where one failed.
        reason: Why a measure of it failed, else empty.
        steps: Architectures measured.
        failures: How many of them failed.
        entropy: Joint entropy in nats of the policy that drew the first and the last of them;
            NaN without a policy.
        wall_seconds: Wall-clock time of all sessions.
        front: The best measured architectures, those on the front of the objectives first.
        settings: Settings of the search.
        provenance: Image source and digest, device, versions and the command.
        next_command: What to type next.
        reliability: How well the measures rank a reference table, where one was asked; see
            :func:`asvit.runs.correlation.reliability`.
    """

    folder: Path
    seed_architecture: str
    params: int
    macs: int
    values: Mapping[str, float]
    reason: str
    steps: int
    failures: int
    entropy: tuple[float, float]
    wall_seconds: float
    front: Sequence[TrialRow]
    settings: SearchSettings
    provenance: Mapping[str, Any]
    next_command: str
    reliability: Mapping[str, Any] | None = None

    @property
    def length_distortion(self) -> float:
        """Length distortion of the seed architecture; NaN if it failed or was not asked for."""
        return self.values.get("length_distortion", math.nan)

    @property
    def ntk_condition_number(self) -> float:
        """NTK condition number of the seed; NaN if it failed or was not asked for."""
        return self.values.get("ntk_condition_number", math.nan)

    def to_json(self) -> dict[str, Any]:
        """The content of result.json, in the types of strict JSON: None for NaN."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "space": self.settings.space,
            "controller": self.settings.controller,
            "seed_architecture": self.seed_architecture,
            "params": self.params,
            "macs": self.macs,
            "length_distortion": finite(self.length_distortion),
            "ntk_condition_number": finite(self.ntk_condition_number),
            "values": {name: finite(value) for name, value in self.values.items()},
            "reason": self.reason,
            "steps": self.steps,
            "failures": self.failures,
            "entropy": {"first": finite(self.entropy[0]), "last": finite(self.entropy[1])},
            "wall_seconds": round(self.wall_seconds, 3),
            "front": [_row_to_json(row) for row in self.front],
            "settings": self.settings.to_json(),
            **self.provenance,
            "next_command": self.next_command,
            **({} if self.reliability is None else {"reliability": dict(self.reliability)}),
        }

    @classmethod
    def _from_json(cls, content: Mapping[str, Any], folder: Path) -> Self:
        settings = SearchSettings.from_json(content["settings"])
        return cls(
            folder=folder,
            seed_architecture=content["seed_architecture"],
            params=content["params"],
            macs=content["macs"],
            values={name: _number(content["values"][name]) for name in settings.proxies},
            reason=content["reason"],
            steps=content["steps"],
            failures=content["failures"],
            entropy=(_number(content["entropy"]["first"]), _number(content["entropy"]["last"])),
            wall_seconds=content["wall_seconds"],
            front=[_row_from_json(row, settings.proxies) for row in content["front"]],
            settings=settings,
            provenance={name: content[name] for name in PROVENANCE},
            next_command=content["next_command"],
            reliability=reliability_from_json(content.get("reliability")),
        )


PROVENANCE = ("images", "device", "versions", "command")


def _row_to_json(row: TrialRow) -> dict[str, Any]:
    """The columns of trials.csv."""
    return {
        "number": row.number,
        "architecture": row.architecture,
        "params": row.params,
        "macs": row.macs,
        **{name: finite(row.values[name]) for name in without_sizes(row.values)},
        "reward": finite(row.reward),
        "entropy": finite(row.entropy),
        "state": row.state,
        "reason": row.reason,
    }


def _row_from_json(content: Mapping[str, Any], measures: Sequence[str]) -> TrialRow:
    return TrialRow(
        number=content["number"],
        architecture=content["architecture"],
        params=content["params"],
        macs=content["macs"],
        values={name: _number(content[name]) for name in measures},
        reward=_number(content["reward"]),
        entropy=_number(content["entropy"]),
        state=content["state"],
        reason=content["reason"],
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value

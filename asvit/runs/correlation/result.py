"""The result of a correlation, and its form in result.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asvit._run_files import VALUES
from asvit.reference.findings import Finding
from asvit.reference.settings import CorrelationSettings, Question
from asvit.reference.table import Target
from asvit.reference.values import Values
from asvit.runs.correlation.journal import KIND, SCHEMA_VERSION
from asvit.runs.result_file import StoredResult

PROVENANCE = ("images", "device", "versions", "command")


@dataclass(frozen=True)
class CorrelationResult(StoredResult, kind=KIND, schema=SCHEMA_VERSION, what="a correlation"):
    """What a reference table says of measures.

    Attributes:
        folder: Run folder.
        reference: Name of the table.
        digest: SHA-256 of its file.
        targets: The accuracies that were correlated with.
        rows: Rows of the table that were measured.
        excluded: Why others were left out, in words, to how many.
        correlations: One finding a measure and target: target after target, in each the counts
            first, then the measures by tau.
        values: What was correlated, row by row.
        wall_seconds: Time that measuring took in all sessions, of all that is in the folder.
        settings: How the networks were measured.
        question: What was asked.
        provenance: Image sources and digests by size, device, versions and the command.
    """

    folder: Path
    reference: str
    digest: str
    targets: Sequence[Target]
    rows: int
    excluded: Mapping[str, int]
    correlations: Sequence[Finding]
    values: Values
    wall_seconds: float
    settings: CorrelationSettings
    question: Question
    provenance: Mapping[str, Any]

    def finding(self, measure: str, target: str | None = None) -> Finding:
        """How well a measure ranks a target, by default the first one.

        Raises:
            KeyError: If that was not asked.
        """
        wanted = self.targets[0].name if target is None else target
        for one in self.correlations:
            if (one.measure, one.target) == (measure, wanted):
                return one
        raise KeyError(f"nothing was asked of {measure!r} and {wanted!r}")

    def to_json(self) -> dict[str, Any]:
        """The content of result.json, in the types of strict JSON: None for NaN."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "reference": self.reference,
            "digest": self.digest,
            "targets": [dataclasses.asdict(target) for target in self.targets],
            "rows": self.rows,
            "excluded": dict(self.excluded),
            "correlations": [one.to_json() for one in self.correlations],
            "wall_seconds": round(self.wall_seconds, 3),
            "settings": self.settings.to_json(),
            "question": self.question.to_json(),
            **self.provenance,
        }

    @classmethod
    def _from_json(cls, content: Mapping[str, Any], folder: Path) -> Self:
        return cls(
            folder=folder,
            reference=content["reference"],
            digest=content["digest"],
            targets=tuple(Target(**target) for target in content["targets"]),
            rows=content["rows"],
            excluded=content["excluded"],
            correlations=[Finding.from_json(one) for one in content["correlations"]],
            values=Values.from_csv((folder / VALUES).read_text(encoding="utf-8")),
            wall_seconds=content["wall_seconds"],
            settings=CorrelationSettings.from_json(content["settings"]),
            question=Question.from_json(content["question"]),
            provenance={name: content[name] for name in PROVENANCE},
        )

"""The result of a correlation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from asvit.core.results import Result
from asvit.core.run_files import CORRELATION_FIGURES, RESULT, VALUES, figure_files
from asvit.reference.findings import Finding
from asvit.reference.settings import CorrelationQuery, CorrelationSettings
from asvit.reference.table import Target
from asvit.reference.values import Values
from proxies.messages import shown

_LONGEST_NAME = 100  # characters of a measure in the name of a file


@dataclass(frozen=True, kw_only=True)
class CorrelationResult(Result):
    """How well measures rank a reference table.

    Attributes:
        reference: Name of the table.
        digest: SHA-256 of its file.
        targets: The accuracies that the measures were correlated with.
        rows: Number of rows of the table that were measured.
        excluded: Reason for leaving rows out, in words, to the number of such rows.
        correlations: One finding per measure and target: target after target, in each the counts
            first, then the measures by tau.
        question: What was correlated.
        values: The values that were correlated, row by row; they are in values.csv.
    """

    kind = "correlation"
    noun = "correlation"
    hidden = ("values",)

    settings: CorrelationSettings
    reference: str
    digest: str
    targets: Sequence[Target]
    rows: int
    excluded: Mapping[str, int]
    correlations: Sequence[Finding]
    question: CorrelationQuery
    values: Values = field(default_factory=Values)

    @property
    def figures(self) -> tuple[str, ...]:
        """The files of its figures: the taus, and a scatter plot for each measure."""
        names = (scatter_name(one.measure) for one in self.correlations)
        return figure_files([*CORRELATION_FIGURES, *dict.fromkeys(names)])

    def finding(self, measure: str, target: str | None = None) -> Finding:
        """How well a measure ranks a target, by default the first one.

        Raises:
            KeyError: If that was not correlated.
        """
        wanted = self.targets[0].name if target is None else target
        for one in self.correlations:
            if (one.measure, one.target) == (measure, wanted):
                return one
        raise KeyError(f"nothing was asked of {measure!r} and {wanted!r}")

    @classmethod
    def parse(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Undo :meth:`to_json` for a file in ``folder``, which has values.csv, too.

        Raises:
            FileNotFoundError: If it has not.
            ValueError: If either is malformed, or they do not belong together.
        """
        found = super().parse(content, folder)
        try:
            values = Values.from_csv((folder / VALUES).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{VALUES}: {error}") from error
        for name in (name for one in found.correlations for name in (one.measure, one.target)):
            if name not in values.measures and name not in values.accuracies:
                raise ValueError(f"{VALUES} has no column {shown(name)}, as {RESULT} has")
        return replace(found, values=values)


def scatter_name(measure: str) -> str:
    """Name of the scatter plot of a measure, without its ending."""
    return "scatter-" + re.sub(r"[^\w.-]", "-", measure[:_LONGEST_NAME], flags=re.ASCII)

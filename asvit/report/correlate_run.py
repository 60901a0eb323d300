"""What the run folder of a correlation holds, as its report needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvit._records import MALFORMED
from asvit._run_files import RESULT, SCORES, VALUES
from asvit._types import check_types
from asvit.reference.findings import Finding
from asvit.reference.table import Target
from asvit.reference.values import Values
from asvit.report.results import OfCorrelation, check_result
from asvit.report.run import read_object
from proxies.messages import first_line, shown

_LONGEST_NAME = 100  # characters of a measure in the name of a file


def scatter_name(measure: str) -> str:
    """Name of the figure of a measure, without its ending."""
    return "scatter-" + re.sub(r"[^\w.-]", "-", measure[:_LONGEST_NAME], flags=re.ASCII)


@dataclass(frozen=True)
class CorrelationRun:
    """A question about a reference table that was answered.

    Attributes:
        name: Name of the run folder.
        targets: The accuracies that were correlated with.
        findings: One a measure and target.
        values: What was correlated, row by row.
        result: Content of result.json.
    """

    name: str
    targets: Sequence[Target]
    findings: Sequence[Finding]
    values: Values
    result: Mapping[str, Any]

    def of(self, target: Target) -> list[Finding]:
        """The findings of a target, in their order."""
        return [one for one in self.findings if one.target == target.name]


def is_correlation_run(folder: Path) -> bool:
    """Whether ``folder`` is the run folder of a correlation."""
    return (folder / SCORES).is_file()


def read_correlation_run(folder: Path) -> CorrelationRun:
    """Read the run folder of a correlation.

    Raises:
        FileNotFoundError: If no question about a table has been answered in the folder yet.
        ValueError: If one of its files is not what it should be.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder {str(folder)!r}; asvit correlate makes one")
    result = read_object(folder / RESULT)
    if not result or not (folder / VALUES).is_file():
        raise FileNotFoundError(
            f"{folder} has no finished correlation yet; the same asvit correlate goes on with it"
        )
    check_result(result, OfCorrelation, folder / RESULT)
    try:
        values = Values.from_csv((folder / VALUES).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / VALUES}: {error}") from error
    try:
        run = CorrelationRun(
            name=folder.resolve().name,
            targets=[Target(**target) for target in result["targets"]],
            findings=[Finding.from_json(one) for one in result["correlations"]],
            values=values,
            result=result,
        )
        for one in (*run.targets, *run.findings):
            check_types(one)
    except MALFORMED as error:
        raise ValueError(
            f"{folder / RESULT} is not the result of a correlation: {first_line(error)}"
        ) from error
    known = {*values.measures, *values.accuracies}
    for name in (name for one in run.findings for name in (one.measure, one.target)):
        if name not in known:
            raise ValueError(f"{folder / VALUES} has no column {shown(name)}, as {RESULT} has")
    return run

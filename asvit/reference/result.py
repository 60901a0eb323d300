"""What a correlation stores on its way, its values (``values.csv``), and its result."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from asvit.core.codec import StoredScore
from asvit.core.files import read_text
from asvit.core.results import Result
from asvit.core.run_files import CORRELATION_FIGURES, RESULT, VALUES, figure_files
from asvit.core.tables import csv_text, read_table
from asvit.reference.findings import Finding, estimates
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import Target
from proxies.text import shown

_LONGEST_NAME = 100  # characters of a measure in the name of a file
ACCURACY = "accuracy:"  # before the name of a target in the header
_BEFORE = ["architecture", "image_size"]
_AFTER = ["reason"]


@dataclass(frozen=True)
class Values:
    """The values of the measured rows, column by column."""

    architectures: tuple[str, ...] = ()  # the text of each row's architecture
    # Sides of the images that the rows were measured on, in pixels.
    image_sizes: tuple[int, ...] = ()
    # Target to accuracies in per cent, or NaN.
    accuracies: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # Measure or rank sum to values; NaN where it failed.
    measures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # Failures of a row's measures, in one line; empty without any.
    reasons: tuple[str, ...] = ()

    def to_csv(self) -> str:
        """The content of values.csv; numbers have all their digits."""
        columns = {ACCURACY + name: of for name, of in self.accuracies.items()}
        columns |= self.measures
        numbers = zip(*columns.values(), strict=True)
        others = zip(self.architectures, self.image_sizes, self.reasons, numbers, strict=True)
        rows = ([text, size, *map(repr, row), reason] for text, size, reason, row in others)
        return csv_text([[*_BEFORE, *columns, *_AFTER], *rows])

    @classmethod
    def from_csv(cls, text: str) -> Self:
        """Undo :meth:`to_csv`."""

        def read(_header: list[str], cells: list[str]) -> tuple[Any, ...]:
            name, size, *numbers, reason = cells
            return name, int(size), *map(float, numbers), reason

        names, rows = read_table(text, "values", _BEFORE, _AFTER, read)
        texts, sizes, *numbers, reasons = (
            zip(*rows, strict=True) if rows else [()] * (len(names) + 3)
        )
        columns = dict(zip(names, numbers, strict=True))
        accuracies = {
            n.removeprefix(ACCURACY): columns.pop(n) for n in names if n.startswith(ACCURACY)
        }
        return cls(texts, sizes, accuracies, columns, reasons)


@dataclass(frozen=True, kw_only=True)
class CorrelationResult(Result):
    """How well measures rank a reference table.

    Example:
        >>> result = asvit.run_correlation(
        ...     "vitbench101-pit", proxies="naswot", rows=5, image_size=32, repeats=1,
        ...     out="correlation",
        ... )
        >>> result.finding("naswot").measure
        'naswot'
    """

    kind = "correlation"
    noun = "correlation"
    hidden = ("values",)
    provenance_keys = ("table", "images", "device", "versions", "command")
    rows_in = "correlations"

    settings: CorrelationSettings
    reference: str  #: name of the table
    targets: Sequence[Target]  #: the accuracies that the measures were correlated with
    rows: int  #: number of rows of the table that were measured
    #: Reason for leaving rows out, in words, to the number of such rows.
    excluded: Mapping[str, int]
    #: One finding per measure and target: target after target, in each the counts first, then the
    #: measures by tau.
    correlations: Sequence[Finding]
    #: The correlated values, row by row, of values.csv.
    values: Values = field(default_factory=Values)

    @classmethod
    def figure_files(cls, folder: Path) -> Sequence[str]:
        """The figures of the measures that the result in ``folder`` has."""
        try:
            return cls.read(folder / RESULT).figures
        except (FileNotFoundError, ValueError):
            return ()

    @property
    def figures(self) -> tuple[str, ...]:
        """The files of its figures: the taus, and a scatter plot for each measure."""
        names = (scatter_name(row.measure) for row in self.correlations if not row.predicted)
        return figure_files([*CORRELATION_FIGURES, *dict.fromkeys(names)])

    def finding(self, measure: str, target: str | None = None) -> Finding:
        """How well a measure ranks a target, by default the first one.

        Raises:
            KeyError: If they were not correlated.
        """
        name = self.targets[0].name if target is None else target
        for row in self.correlations:
            if (row.measure, row.target) == (measure, name):
                return row
        raise KeyError(f"nothing was asked of {measure!r} and {name!r}")

    def facts(self) -> dict[str, Any]:
        """The facts of the base class, and tau of each measure for the first target."""
        first = self.targets[0].name
        rows = [row for row in self.correlations if row.target == first]
        taus = {_tau_name(row.measure): row.tau for row in rows}
        return {**super().facts(), "target": first, **taus}

    def comparable(self) -> dict[str, Any]:
        """As the base has them, with tau of each measure for each target and its interval.

        Here names always have the target: another run may have another first one.
        """
        facts = super().comparable()
        for row in self.correlations:
            facts.pop(_tau_name(row.measure), None)
            facts[_tau_name(row.measure, row.target)] = estimates(row)[0]
        return facts

    @classmethod
    def parse(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Undo :meth:`to_json` for a file in ``folder``, which has values.csv, too.

        Raises:
            FileNotFoundError: If there is no values.csv.
            ValueError: If either is malformed, or they do not belong together.
        """
        result = super().parse(content, folder)
        try:
            values = Values.from_csv(read_text(folder / VALUES))
        except ValueError as error:
            raise ValueError(f"{VALUES}: {error}") from error
        known = values.measures.keys() | values.accuracies.keys()
        measured = [row for row in result.correlations if not row.predicted]
        if missing := {name for row in measured for name in (row.measure, row.target)} - known:
            raise ValueError(f"{VALUES} has no column {shown(min(missing))}, as {RESULT} has")
        return replace(result, values=values)


def _tau_name(measure: str, target: str = "") -> str:
    """What tau of a measure is called among facts, which have the first target alone."""
    return f"tau of {measure}, {target}" if target else f"tau of {measure}"


def scatter_name(measure: str) -> str:
    """Name of the scatter plot of a measure, without its ending.

    Letters of other scripts, and what is cut off, are told apart by a digest.
    """
    plain = re.sub(r"[^\w.-]", "-", measure[:_LONGEST_NAME], flags=re.ASCII)
    if len(measure) > _LONGEST_NAME or not measure.isascii():
        digest = hashlib.sha256(measure.encode(errors="backslashreplace")).hexdigest()
        plain = f"{plain}-{digest[:8]}"
    return f"scatter-{plain}"


@dataclass(frozen=True)
class ImagesOfSize:
    """The images of a side in pixels: their ``source`` and ``digest``."""

    image_size: int
    images: Mapping[str, str]


@dataclass(frozen=True)
class Scored:
    """Scores of an architecture."""

    architecture: str
    scores: Mapping[str, StoredScore]

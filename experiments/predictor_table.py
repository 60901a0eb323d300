"""How well does the predictor rank after a few trainings? A table of docs/predictor.md.

Run from a checkout: ``python -m experiments.predictor_table`` stores what
``asvit.cross_validate`` finds of every accuracy of every table that comes along, in
``predictor.csv``; about 10 minutes of one core.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import asvit
from asvit.reference import REFERENCES, load_reference
from experiments.study import Case, Study
from experiments.tables import markdown, read_rows

TRAININGS = (12, 25, 50)
LEAST_TESTS = 10
TABLE = Path(__file__).with_name("predictor.csv")


@dataclass(frozen=True)
class Row:
    """A predictor fitted to so many rows of a table, beside the best count."""

    reference: str
    target: str
    trainings: int
    tau: float
    low: float
    high: float
    difference: float  # of tau to that of the count chosen on the rows fitted to
    difference_low: float
    difference_high: float
    count: str  # that ranks all rows best, in hindsight
    count_tau: float  # its tau on the test rows
    coverage: float  # of the 90 % interval


def study() -> Study[Row]:
    """All accuracies of all tables."""
    found: list[Case] = [
        {"reference": name, "target": target, "trainings": trainings}
        for name in REFERENCES
        for target, accuracies in load_reference(name).accuracies.items()
        if "_seed" not in target
        for trainings in usable(accuracies)
    ]
    return Study(Row, TABLE, found, validate)


def validate(reference: str, target: str, trainings: int) -> Case:
    """The predictor on the rows of a table that it was not fitted to."""
    result = asvit.cross_validate(reference, target, trainings)
    low, high = result.tau_interval
    difference_low, difference_high = result.count.difference_interval
    numbers = {
        "tau": result.tau,
        "low": low,
        "high": high,
        "difference": result.count.difference,
        "difference_low": difference_low,
        "difference_high": difference_high,
        "count_tau": result.overall_count.tau,
        "coverage": result.coverage,
    }
    rounded = {name: round(float(value), 4) for name, value in numbers.items()}
    return {"count": result.overall_count.name, **rounded}


def usable(accuracies: object) -> Iterator[int]:
    """The numbers of trainings that leave enough rows to test on."""
    known = int(np.isfinite(np.asarray(accuracies, dtype=np.float64)).sum())
    return (trainings for trainings in TRAININGS if trainings + LEAST_TESTS <= known)


def table() -> str:
    """The stored rows as Markdown: a line for each accuracy."""
    rows = read_rows(TABLE, Row)
    lines = []
    for name, target in dict.fromkeys((row.reference, row.target) for row in rows):
        own = [row for row in rows if (row.reference, row.target) == (name, target)]
        cells = [f"{name}, {target}", f"{own[0].count} {own[0].count_tau:.2f}"]
        for row in own:
            mark = "**" if row.difference_low > 0 else ""
            interval = f"[{row.difference_low:+.2f}, {row.difference_high:+.2f}]"
            cells += [f"{row.tau:.2f}", f"{mark}{row.difference:+.2f} {interval}{mark}"]
        lines.append([cell.replace("-0.", "−0.") for cell in cells])
    columns = {"table, target": "l", "best count, in hindsight": "l"}
    for trainings in TRAININGS:
        columns |= {f"{trainings} trained": "r", f"{trainings}, − count's": "r"}
    return markdown(columns, lines)


def main() -> None:
    """Compute what is missing, and print the table."""
    study().main(__doc__)
    print(table())


if __name__ == "__main__":
    main()

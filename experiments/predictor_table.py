"""How well does the predictor rank after a few trainings, beside counts and measures?

As ``asvit.cross_validate``, it fits a predictor to some rows of a table and ranks the others; on
the same rows it judges the best count and, where the measures of a table are stored, the
best of some measures, chosen in hindsight on the whole table, which gives it the advantage.

Run from a checkout: ``python -m experiments.predictor_table``, about 10 minutes of one core for
every accuracy of every table that comes along.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asvit.predictor.validation import Array, Splits, gather_rows
from asvit.reference import REFERENCES, ReferenceTable, load_reference
from asvit.reference.findings import highest
from asvit.reference.query import stored_values
from asvit.statistics.ranks import kendall
from experiments.study import Case, Study, grouped
from experiments.tables import markdown

TRAININGS = (12, 25, 50)
SPLITS = 30
LEAST_TESTS = 10
MEASURES = ("snip", "synflow", "zico", "naswot", "length_distortion")  # higher is better
#: Table -> the accuracy that measures are compared on.
MEASURED = {
    "vitbench101-pit": "c100_base_acc",
    "vitbench101-autoformer": "c100_kd_acc",
    "asvit-sizes": "accuracy",
    "asvit-fractal": "accuracy",
}


@dataclass(frozen=True)
class Row:
    """A predictor fitted to so many rows of a table; differences are of its tau to a rival's."""

    reference: str
    target: str
    trainings: int
    tau: float
    low: float
    high: float
    coverage: float  # of the 90 % interval
    count: str  # that ranks all rows best
    count_tau: float  # its tau on the test rows
    count_difference: float  # to the count chosen on the rows fitted to
    count_low: float
    count_high: float
    measure: str  # that ranks all rows best; empty where none is stored
    measure_tau: float  # its tau on all rows
    measure_difference: float
    measure_low: float
    measure_high: float


def validate(reference: str, target: str, trainings: int) -> Case:
    """The predictor on the rows of a table that it was not fitted to, beside its rivals."""
    table, best, best_tau = load_reference(reference), "", math.nan
    rows = gather_rows(table, target)
    column = unknown = np.full(len(rows.accuracies), math.nan)
    if MEASURED.get(reference) == target:
        best, best_tau = best_measure(table, target)
        column = stored_values(table)[0][best][np.isfinite(table.accuracies[target])]
    fits = Splits(rows, trainings, SPLITS, 0)
    taus, trained = fits.taus(), [split.train for split in fits.splits]
    tau, count = fits.estimate(taus), rows.best_count(np.arange(len(rows.accuracies)))
    counts = [rows.counts.get(rows.best_count(own), unknown) for own in trained]
    measures = [column if np.isfinite(column[own]).all() else unknown for own in trained]
    numbers = {
        "tau": tau.value,
        "low": tau.low,
        "high": tau.high,
        "coverage": fits.estimate(fits.covered()).value,
        "count_tau": fits.estimate(fits.taus([rows.counts[count]] * SPLITS)).value,
        "measure_tau": best_tau,
        **_difference("count", fits, taus - fits.taus(counts)),
        **_difference("measure", fits, taus - fits.taus(measures)),
    }
    rounded = {name: round(float(value), 4) for name, value in numbers.items()}
    return {"count": count, "measure": best, **rounded}


def best_measure(table: ReferenceTable, target: str) -> tuple[str, float]:
    """The measure with the highest tau on a whole table, and that tau."""
    (stored, _), accuracies = stored_values(table), table.accuracies[target]
    taus = {measure: kendall(stored[measure], accuracies) for measure in MEASURES}
    best = highest(taus)
    return best, taus[best]


def _difference(name: str, fits: Splits, taus: Array) -> dict[str, float]:
    found = fits.estimate(taus)
    return {
        f"{name}_difference": found.value,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
    }


def usable(accuracies: object) -> Iterator[int]:
    """The numbers of trainings that leave enough rows to test on."""
    known = int(np.isfinite(np.asarray(accuracies, dtype=np.float64)).sum())
    return (trainings for trainings in TRAININGS if trainings + LEAST_TESTS <= known)


EVERY: list[Case] = [
    {"reference": name, "target": target, "trainings": trainings}
    for name in REFERENCES
    for target, accuracies in load_reference(name).accuracies.items()
    if "_seed" not in target
    for trainings in usable(accuracies)
]
STUDY = Study(Row, Path(__file__).with_name("predictor.csv"), EVERY, validate)


def table(rival: str) -> str:
    """A line for each accuracy that has a rival, ``"count"`` or ``"measure"``."""
    lines = []
    rows = [row for row in STUDY.rows() if getattr(row, rival)]
    for (name, target), own in grouped(rows, ["reference", "target"]).items():
        first = vars(own[0])
        cells = [f"{name}, {target}", f"{first[rival]} {first[f'{rival}_tau']:.2f}"]
        for row in map(vars, own):
            more, low, high = (row[f"{rival}_{part}"] for part in ("difference", "low", "high"))
            mark = "**" if low > 0 else ""
            interval = f"({low:+.2f} to {high:+.2f})"
            cells.append(f"{row['tau']:.2f}; {mark}{more:+.2f} {interval}{mark}")
        lines.append([cell.replace("-0.", "−0.") for cell in cells])
    columns = {"table, target": "l", f"best {rival}, in hindsight": "l"}
    columns |= {f"τ after {trainings}; − the {rival}'s": "r" for trainings in TRAININGS}
    return markdown(columns, lines)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table("count"), table("measure"), sep="\n\n")

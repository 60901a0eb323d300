"""Do a few trainings rank better than the best measure of untrained networks?

``asvit.cross_validate`` fits a predictor to some rows of a table and ranks the others; on the same
rows the best of the measures is judged, chosen in hindsight on the whole table, so it has the
advantage. The measures of every row are kept in ``measures/``, as ``asvit correlate`` wrote them,
and what comes of the comparison in ``compare_measures.csv``.

Run from a checkout: ``python -m experiments.compare_measures`` (two minutes of one core).
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import asvit
from asvit.reference import load_reference
from asvit.reference.statistics import kendall
from experiments.tables import markdown, read_rows, write_rows

FOLDER = Path(__file__).with_name("measures")
TABLE = Path(__file__).with_name("compare_measures.csv")
TARGETS = {
    "vitbench101-pit": "c100_base_acc",
    "vitbench101-autoformer": "c100_kd_acc",
    "asvit-sizes": "accuracy",
    "asvit-fractal": "accuracy",
}
MEASURES = ("snip", "synflow", "zico", "naswot", "length_distortion")  # higher is better
TRAININGS = (12, 25, 50)


@dataclass(frozen=True)
class Row:
    """A predictor after so many trainings, beside the best measure."""

    reference: str
    target: str
    measure: str
    measure_tau: float  # on all rows
    trainings: int
    tau: float
    difference: float
    low: float
    high: float


def main() -> None:
    """Compare, keep and print."""
    kept = [name for name in TARGETS if _measures_of(name).exists()]
    write_rows(TABLE, [one for name in kept for one in compared(name)])
    print(table())


def compared(name: str) -> list[Row]:
    """The comparisons on a reference table."""
    reference, target = load_reference(name), TARGETS[name]
    with _measures_of(name).open(newline="", encoding="utf-8") as file:
        lines = {line["architecture"]: line for line in csv.DictReader(file)}
    columns = {
        measure: np.array(
            [float(lines[text][measure] or "nan") for text in reference.architectures]
        )
        for measure in MEASURES
    }
    accuracies = reference.accuracies[target]
    taus = {measure: kendall(values, accuracies) for measure, values in columns.items()}
    best = max(taus, key=lambda measure: taus[measure])
    found = []
    for trainings in TRAININGS:
        one = asvit.cross_validate(reference, target, trainings, measures={best: columns[best]})
        low, high = one.measure.difference_interval
        numbers = one.tau, one.measure.difference, low, high
        found.append(
            Row(
                name,
                target,
                best,
                round(taus[best], 4),
                trainings,
                *(round(x, 4) for x in numbers),
            )
        )
    return found


def _measures_of(name: str) -> Path:
    return FOLDER / f"{name}.csv"


def table() -> str:
    """What was kept, as Markdown."""
    rows = read_rows(TABLE, Row)
    lines = []
    for name in dict.fromkeys(row.reference for row in rows):
        own = [row for row in rows if row.reference == name]
        cells = [f"{name}, {own[0].target}", f"{own[0].measure} {own[0].measure_tau:.2f}"]
        for row in own:
            mark = "**" if row.low > 0 else ""
            interval = f"{row.low:+.2f} to {row.high:+.2f}"
            cells += [f"{row.tau:.2f}", f"{mark}{row.difference:+.2f} ({interval}){mark}"]
        lines.append([cell.replace("-0.", "−0.") for cell in cells])
    columns = {"table, target": "l", "best measure, in hindsight": "l"}
    for trainings in TRAININGS:
        columns |= {f"τ after {trainings}": "r", f"after {trainings}, − the measure's": "r"}
    return markdown(columns, lines)


if __name__ == "__main__":
    main()

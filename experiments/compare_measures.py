"""Do a few trainings rank better than the best measure of untrained networks?

``asvit.cross_validate`` fits a predictor to some rows of a table and ranks the others; on the same
rows the best of the measures is judged, chosen in hindsight on the whole table, so it has the
advantage. The measures of every row are kept in ``measures/``, as ``asvit correlate`` wrote them,
and what comes of the comparison in ``compare_measures.csv``.

Run from a checkout: ``python -m experiments.compare_measures`` (two minutes of one core); with
``--print`` it only prints.
"""

from dataclasses import dataclass
from pathlib import Path

import asvit
from asvit.reference import load_reference
from asvit.reference.statistics import kendall
from experiments.ranking import stored_values
from experiments.study import Case, Study, cases
from experiments.tables import markdown, read_rows

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
    """Compare, store and print."""
    study().main(__doc__)
    print(table())


def study() -> Study[Row]:
    """The comparisons on all tables whose measures are stored."""
    return Study(Row, TABLE, cases(reference=TARGETS, trainings=TRAININGS), compare)


def compare(reference: str, trainings: int) -> Case:
    """The predictor on a reference table, beside the best measure on it."""
    table, target = load_reference(reference), TARGETS[reference]
    stored = stored_values(table)
    columns = {measure: stored[measure] for measure in MEASURES}
    accuracies = table.accuracies[target]
    taus = {measure: kendall(values, accuracies) for measure, values in columns.items()}
    best = max(taus, key=lambda measure: taus[measure])
    found = asvit.cross_validate(table, target, trainings, measures={best: columns[best]})
    low, high = found.measure.difference_interval
    numbers = {
        "measure_tau": taus[best],
        "tau": found.tau,
        "difference": found.measure.difference,
        "low": low,
        "high": high,
    }
    rounded = {name: round(float(value), 4) for name, value in numbers.items()}
    return {"target": target, "measure": best, **rounded}


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

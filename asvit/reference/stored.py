"""How well measures rank a bundled table, by scores that come with it: it costs a run no time."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asvit.reference.correlate import best_count, correlate, ranked, unranked
from asvit.reference.findings import Finding, Reliability
from asvit.reference.query import counts, is_trivial
from asvit.reference.settings import PLUS, direction, parts
from asvit.reference.table import ReferenceTable, load_reference, read_sheet
from asvit.statistics.ranks import oriented

#: Scores of tables, a file for each, written by ``python -m experiments.tau_table --store``.
FOLDER = Path(__file__).with_name("measured")


def stored_values(table: ReferenceTable) -> tuple[dict[str, NDArray[np.float64]], str]:
    """Every stored measure and count of a table, ``[rows]`` each, and how they were measured.

    A value is NaN where the measure failed.
    """
    sheet = read_sheet(FOLDER / f"{table.name}.csv")
    columns = dict(sheet.columns)
    place = {text: row for row, text in enumerate(columns.pop("architecture"))}
    order = [place[text] for text in table.architectures]
    values = {
        name: np.array([float(cells[row] or "nan") for row in order])
        for name, cells in columns.items()
    }
    return values, sheet.provenance["measured"]


def stored_reliability(name: str, measures: Sequence[str]) -> Reliability:
    """How well measures, and the sum of their ranks, order the bundled table ``name``.

    Measures without stored scores, such as the user's own, have a reason in place of a tau.
    """
    table = load_reference(name)
    target = table.target()
    values, how = stored_values(table)
    accuracies = np.asarray(table.accuracies[target.name])
    columns = {
        count.name: oriented(values[count.name], count.better)
        for count in counts()
        if count.name in values
    }

    def rank(measure: str) -> Finding:
        better = direction(measure)
        missing = [part for part in parts(measure) if part not in values]
        if missing:
            reason = f"no scores of {', '.join(missing)} come with table {name}"
            finding = unranked(0, 0, reason, better)
        else:
            own = ranked(values, measure, range(len(table)))
            finding = correlate(own, accuracies, better=better, counts=columns, within=False)
        return replace(finding, measure=measure, target=target.name, trivial=is_trivial(measure))

    rival, _ = best_count(columns, accuracies)
    return Reliability(
        reference=name,
        digest=table.digest,
        target=target.name,
        description=target.description,
        noise_ceiling=target.noise_ceiling,
        rows=len(table),
        scores=how,
        measures=tuple(map(rank, with_sum(measures))),
        best_count=rank(rival),
    )


def with_sum(measures: Sequence[str]) -> list[str]:
    """The measures of a run, and the sum of the ranks by all that have a direction."""
    ranked_by = [name for name in measures if direction(name) != "reported"]
    return [*measures, *([PLUS.join(ranked_by)] if len(ranked_by) > 1 else [])]

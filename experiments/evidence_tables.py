"""Writes the tables of the evidence from the stored rows of the studies.

Run from a checkout: ``python -m experiments.evidence_tables``. A table stands below a line
``<!-- table NAME -->``, indented as that line is. The rows are CSV files beside this script; the
scripts of the studies compute what they lack. A table that needs all rows of its study stays where
some are missing; others have what there is.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments import (
    compare_depths,
    compare_designs,
    compare_optimizers,
    compare_parts,
    compare_resnets,
    compare_retokenization,
    compare_weights,
    measure_ranks,
    predictor_table,
    study_balance,
    study_designs,
    study_mended,
    study_pretraining,
    study_sides,
    study_sizes,
)
from experiments.compare_designs import AT_CAP, BEST, BY_HAND, FREE, SEARCHES
from experiments.kinds import RANDOM, Row, difference
from experiments.study import grouped, in_a_cell
from experiments.tables import fill_tables, markdown, read_rows

DOCS = Path(__file__).parents[1] / "docs"
NAMES = (
    *("evidence", "evidence_designs", "evidence_measures", "evidence_searches"),
    *("predictor", "retokenization", "training"),
)
PAGES = tuple(DOCS / f"{name}.md" for name in NAMES)
CAPPED = "digits", "hard-fractals"  # pictures of searches at the cap

#: What searches are compared with: words of the page -> the kind.
_OTHERS: Mapping[str, str] = {
    "than a random draw": RANDOM,
    "than the best of 24 random draws, trained at one width": BEST,
    "than a search by measures": FREE,
    **{f"than a {name.replace('like', 'like network')}": name for name in BY_HAND},
}


def rewritten(page: str) -> str:
    """``page`` with every table as the files have it now."""
    return fill_tables(page, "table", lambda name: TABLES[name]())


def _designs() -> str:
    """How many points searches at the cap are ahead."""
    known = [read_rows(compare_designs.table_of(pictures), Row) for pictures in CAPPED]

    def cell(rows: Sequence[Row], other: str) -> str:
        if all(row.kind != other for row in rows):
            return ""
        return in_a_cell(difference(rows, [(AT_CAP, other)], paired=SEARCHES))

    lines = [[words, *(cell(rows, other) for rows in known)] for words, other in _OTHERS.items()]
    best = [in_a_cell(compare_designs.than_best_drawn(rows)[1]) for rows in known]
    lines.append(["than the best of 24 random draws by one training at the cap", *best])
    return _table("search by 24 trainings at the cap, points more (95 % interval)", CAPPED, lines)


def _table(first: str, columns: Sequence[str], lines: list[list[str]]) -> str:
    return markdown({first: "l", **dict.fromkeys(columns, "r")}, lines)


def _complete(module: Any) -> str:
    """The table of a study, if all of its rows are stored."""
    return "" if module.STUDY.missing() else str(module.table())


def _shares() -> str:
    """What accuracies depend on: shares of variance in the studies of families and of parts."""
    parts = grouped(compare_parts.STUDY.rows(), ("pictures",))
    lines = [
        ["nine families, four networks of each", *study_mended.shares(study_mended.STUDY.rows())]
    ]
    for (pictures,), rows in parts.items():
        count = len({row.topology for row in rows})
        kinds = len({row.parts for row in rows})
        words = f"{pictures}: {kinds} sets of parts, {count} topologies"
        lines.append([words, *compare_parts.shares(rows)])
    columns = ("family or parts", "topology", "seed, and the rest")
    return _table("% of the variance (90 % interval)", columns, lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "shares": _shares,
    "parts": compare_parts.table,
    "resnets": partial(_complete, compare_resnets),
    "optimizers": compare_optimizers.table,
    "weights": compare_weights.table,
    "depths": compare_depths.table,
    "depths, stems": compare_depths.stems,
    "families": study_designs.table,
    "families, muon": partial(study_designs.table, optimizer="muon"),
    "families, short": study_designs.short,
    "families, parameters": partial(study_designs.table, "1.5 M parameters"),
    "sizes": study_sizes.table,
    "sides": study_sides.table,
    "pretraining": study_pretraining.table,
    **study_mended.TABLES,
    "ranks": measure_ranks.short,
    "measures, all": measure_ranks.everything,
    "predictor": partial(predictor_table.table, "count"),
    "designs": _designs,
    "balance": partial(_complete, study_balance),
    "retokenization": partial(_complete, compare_retokenization),
}


def main() -> None:
    """Rewrite the pages."""
    for page in PAGES:
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

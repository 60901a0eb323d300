"""Writes the tables of the evidence from the stored rows of the studies.

Run from a checkout: ``python -m experiments.evidence_tables``. A table stands below a line
``<!-- table NAME -->``, indented as that line is. The rows are CSV files beside this script; the
scripts of the studies compute what they lack. The table of a study with missing rows stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments import (
    compare_controllers,
    compare_depths,
    compare_designs,
    compare_growths,
    compare_outcomes,
    compare_parts,
    compare_psvit,
    compare_published,
    compare_resnets,
    compare_retokenization,
    compare_rules,
    compare_scalings,
    compare_weights,
    measure_ranks,
    predictor_rivals,
    predictor_table,
    study_balance,
    study_designs,
    study_fidelity,
    study_kernels,
    study_mended,
    study_pretraining,
    study_rejection,
    study_sides,
    study_sizes,
    study_stem,
)
from experiments.compare_designs import AT_CAP, BEST, BY_HAND, FREE, PREDICTED, SHORTER
from experiments.study import RANDOM, Row, difference, grouped, in_a_cell
from experiments.tables import fill_tables, markdown, read_rows

DOCS = Path(__file__).parents[1] / "docs"
NAMES = (
    *("evidence", "evidence_designs", "evidence_measures", "evidence_searches"),
    *("predictor", "retokenization", "training"),
)
PAGES = tuple(DOCS / f"{name}.md" for name in NAMES)
BUDGETS = "0.8M", "1.5M", "0.005G"

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


def _designs(columns: Mapping[str, tuple[str, str]]) -> str:
    """How many points searches are ahead; heading -> the images and the kind of search."""
    known = {data: read_rows(compare_designs.table_of(data), Row) for data, _ in columns.values()}
    kinds = {data: {row.kind for row in rows} for data, rows in known.items()}

    def cell(data: str, kind: str, other: str) -> str:
        if other not in kinds[data]:
            return ""
        return in_a_cell(compare_designs.difference(known[data], kind, other))

    lines = [
        [words, *(cell(data, kind, other) for data, kind in columns.values())]
        for words, other in _OTHERS.items()
    ]
    best = [
        in_a_cell(compare_designs.than_best_drawn(known[data])[1]) if kind == AT_CAP else ""
        for data, kind in columns.values()
    ]
    lines.append(["than the best of 24 random draws by one training at the cap", *best])
    return _table(
        "search by 24 trainings, points more (95 % interval)",
        columns,
        [line for line in lines if any(line[1:])],
    )


def _rules_apart() -> str:
    known = {budget: _rules_of(budget) for budget in BUDGETS}
    grown, *others = dict.fromkeys(row.kind for rows in known.values() for row in rows)
    lines = []
    for other in others:
        found = [
            in_a_cell(difference(rows, [(grown, other)]))
            if other in {row.kind for row in rows}
            else ""
            for rows in known.values()
        ]
        lines.append([f"than {other}", *found])
    return _table("growth, points more (95 % interval)", BUDGETS, lines)


def _rules_of(budget: str) -> list[Row]:
    return read_rows(compare_rules.table_of(budget), Row)


def _table(
    first: str, columns: Sequence[str] | Mapping[str, object], lines: list[list[str]]
) -> str:
    return markdown({first: "l", **dict.fromkeys(columns, "r")}, lines)


def _fidelity(data: str) -> str:
    return study_fidelity.table(data, read_rows(study_fidelity.TABLE, study_fidelity.Row))


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


def _part(module: object, file: Path, number: int) -> str:
    """A table of those that a script prints, by its number."""
    printed: str = module.tables(read_rows(file, Row))  # type: ignore[attr-defined]
    return printed.split("\n\n")[number]


TABLES: Mapping[str, Callable[[], str]] = {
    "shares": _shares,
    "parts": compare_parts.table,
    "resnets": partial(_complete, compare_resnets),
    "weights": compare_weights.table,
    "depths": compare_depths.table,
    "families": study_designs.table,
    "families, ahead": study_designs.ahead,
    "families, transformers": partial(study_designs.ahead, design="design of transformers"),
    "families, short": study_designs.short,
    "families, parameters": partial(study_designs.table, "1.5 M parameters"),
    "families, parameters, ahead": partial(study_designs.ahead, "1.5 M parameters"),
    "sizes": study_sizes.table,
    "sides": study_sides.table,
    "pretraining": study_pretraining.table,
    "pretraining, timed": study_pretraining.timed_table,
    **study_mended.TABLES,
    "ranks": measure_ranks.short,
    "measures": partial(predictor_table.table, "measure"),
    "measures, all": measure_ranks.everything,
    "predictor": partial(predictor_table.table, "count"),
    "designs": lambda: _designs(
        {
            "digits, at the cap": ("digits", AT_CAP),
            "digits, at one width": ("digits", PREDICTED),
            "fractals, at one width": ("fractals", PREDICTED),
        }
    ),
    "designs, hard fractals": lambda: _designs(
        {
            "700 steps, one width (3 searches)": ("hard-fractals", SHORTER),
            "1,400 steps, one width (5)": ("hard-fractals", PREDICTED),
            "1,400 steps, at the cap (5)": ("hard-fractals", AT_CAP),
        }
    ),
    "fidelity, hard fractals": partial(_fidelity, "hard-fractals"),
    **{
        f"outcomes, {name}": partial(_part, compare_outcomes, compare_outcomes.TABLE, number)
        for number, name in ((1, "kinds"), (2, "differences"))
    },
    "growths, differences": partial(_part, compare_growths, compare_growths.TABLE, 1),
    "rules, differences": _rules_apart,
    "psvit, differences": compare_psvit.table,
    "balance": partial(_complete, study_balance),
    "predictor, rivals": partial(_complete, predictor_rivals),
    "controllers": partial(_complete, compare_controllers),
    "rejection": partial(_complete, study_rejection),
    "stem": partial(_complete, study_stem),
    "kernels": partial(_complete, study_kernels),
    "published": partial(_complete, compare_published),
    "scalings": partial(_complete, compare_scalings),
    "retokenization": partial(_complete, compare_retokenization),
}


def main() -> None:
    """Rewrite the pages."""
    for page in PAGES:
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Does growth reach better scores than manual scaling rules, at equal budgets from one seed?

Run from a checkout: ``python -m experiments.compare_scalings``. A stopped comparison continues
when the command is given again.

The rules are depth only, width only, compound (EfficientNet's factors without its image size) and
random growth. Each gives the largest model within a budget, measured as growth measures its
candidates: at a quarter of the width, with the same circle, images and initial weights. No network
is trained, so this compares what growth optimises, not accuracy.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from asvit.report.style import label, log_scale, style
from experiments.baselines import FAMILIES, scale_at_random
from experiments.growing import (
    MODEL_COLUMNS,
    GrowthSetup,
    ModelRow,
    growth_setup,
    measured,
    model_cells,
    parser,
    settings_of,
)
from experiments.tables import markdown, write_rows
from scaling import Budget, Candidate
from scaling.growth import DEFAULT_MEASURES
from scaling.rules import scale_by_rule

GROWN = "growth"
COLOURS = {
    GROWN: "#bd5519",
    "depth only": "#2862a5",
    "width only": "#3f7d4e",
    "compound": "#7a4fa3",
    "random": "#66707b",
}


@dataclass(frozen=True)
class Row(ModelRow):
    """One model: the rule that made it, and its budget."""

    rule: str
    seed: int
    budget: str


def main() -> None:
    """Run the missing measurements, then write the table and the figure."""
    made = parser(__doc__, budgets="10M,30M,88M", out="runs/compare-scalings")
    made.add_argument("--random", type=int, default=3, help="random growths for each seed")
    made.add_argument("--most-blocks", type=int, default=120, help="deeper models are left out")
    options = made.parse_args()
    rows: list[Row] = []
    for seed in range(options.seeds):
        rows += _rows(growth_setup(settings_of(options, seed), options.out), options)
    write_rows(options.out / "scalings.csv", rows)
    with style("scalings"):
        _figure(rows).savefig(options.out / "scalings.svg", metadata={"Date": None})
    print(_table(rows))


def _rows(setup: GrowthSetup, options: argparse.Namespace) -> list[Row]:
    """The models of one seed."""
    start, cost = setup.model.start, setup.model.cost
    rows = []
    for number, budget in enumerate(setup.settings.limits):
        rng = np.random.default_rng([setup.settings.seed, number])
        shapes = [
            (name, scale_by_rule(make, start, cost, budget)) for name, make in FAMILIES.items()
        ]
        shapes += [
            ("random", scale_at_random(start, cost, budget, rng)) for _ in range(options.random)
        ]
        for rule, shape in shapes:
            if sum(shape.depths) > options.most_blocks:
                print(f"{rule} to {budget} would have {sum(shape.depths)} blocks: left out")
                continue
            rows.append(_row(rule, setup, budget, setup.measure(shape)))
        rows.append(_row(GROWN, setup, budget, setup.grow(budget).steps[-1].chosen))
    return rows


def _row(rule: str, setup: GrowthSetup, budget: Budget, model: Candidate) -> Row:
    return Row(**measured(model), rule=rule, seed=setup.settings.seed, budget=str(budget))


def _table(rows: Sequence[Row]) -> str:
    columns = {"budget": "r", "scaling": "l", "seed": "r", **MODEL_COLUMNS}
    return markdown(
        columns,
        [
            (r.budget, r.rule, r.seed, *model_cells(r))
            for r in sorted(rows, key=lambda r: (Budget.parse(r.budget), r.rule, r.seed))
        ],
    )


def _figure(rows: Sequence[Row]) -> Figure:
    made = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, name in zip(made.subplots(1, 2), DEFAULT_MEASURES, strict=True):
        for rule, colour in COLOURS.items():
            own = [row for row in rows if row.rule == rule]
            axes.scatter(
                [row.params / 1e6 for row in own],
                [getattr(row, name) for row in own],
                color=colour,
                s=26,
                alpha=0.8,
                linewidths=0,
                label=rule,
            )
        axes.set_title(label(name))
        axes.set_xlabel("parameters (million)")
        log_scale(axes, "x", [row.params / 1e6 for row in rows])
        log_scale(axes, "y", [getattr(row, name) for row in rows])
    made.legend(
        *made.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(COLOURS)
    )
    return made


if __name__ == "__main__":
    main()

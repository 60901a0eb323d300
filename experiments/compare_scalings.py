"""Does growth reach better scores than manual scaling rules, at equal budgets from one seed?

Each rule gives the largest model within a budget, measured as growth measures its candidates: at a
quarter of the width, with the same circle, images and initial weights. No network is trained, so
this compares what growth optimises, not accuracy.

Run from a checkout: ``python -m experiments.compare_scalings``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean

from asvit.architectures.genotype import Genotype
from asvit.growth.settings import ScaleSettings
from experiments.growing import SEED, GrowthSetup, grown_at_random, growth_setup, measured
from experiments.study import Case, Study, cases, pivot
from scaling import Budget, Shape
from scaling.shapes import RULES, largest_fitting, within

OUT = Path("runs/compare-scalings")
BUDGETS = ("10M", "30M", "88M")
GROWTH, RANDOM = "growth", "random growth"
MOST_BLOCKS = 120  # deeper models are not measured


@dataclass(frozen=True)
class Row:
    """A model: the rule that gave it, and its budget; measures are NaN if it is too deep."""

    rule: str
    budget: str
    seed: int
    depths: str
    width: int
    params: int
    macs: int
    length_distortion: float
    ntk_condition_number: float


@cache
def setup(seed: int) -> GrowthSetup:
    """The growths of a seed."""
    settings = ScaleSettings.make(
        "quick", architecture=SEED, budgets=",".join(BUDGETS), seed=seed, width_multiple=1
    )
    return growth_setup(settings, OUT)


def compare(rule: str, budget: str, seed: int) -> Case:
    """The largest model of a rule within a budget, with its measures."""
    growths, limit = setup(seed), Budget.parse(budget)
    if rule == GROWTH:
        return measured(growths.grow(limit).steps[-1].chosen)
    if rule == RANDOM:
        settings = replace(growths.settings, budgets=(budget,))
        grown = Genotype.parse(grown_at_random(settings, seed))
        shape = Shape(grown.depths, grown.width)
    else:
        start, cost = growths.model.start, growths.model.cost
        found = largest_fitting(RULES[rule].family(start), within(cost, limit))
        assert found is not None
        shape = found
    if sum(shape.depths) <= MOST_BLOCKS:
        return measured(growths.measure(shape))
    size = growths.cost(shape)
    return {
        "depths": ",".join(map(str, shape.depths)),
        "width": shape.width,
        "params": size.params,
        "macs": size.macs,
        "length_distortion": math.nan,
        "ntk_condition_number": math.nan,
    }


TABLE = Path(__file__).with_name("scalings.csv")
EVERY = cases(rule=(GROWTH, RANDOM, "compound", "width"), budget=BUDGETS, seed=range(2))
STUDY = Study(Row, TABLE, EVERY, compare)


def table() -> str:
    """Both measures of each rule at each budget, in the mean over the seeds."""

    def cell(rows: Sequence[Row]) -> str:
        length = fmean(row.length_distortion for row in rows)
        if math.isnan(length):
            return f"{sum(map(int, rows[0].depths.split(',')))} blocks: not measured"
        return f"{length:.2f} / {fmean(row.ntk_condition_number for row in rows):.1f}"

    return pivot(STUDY.rows(), ["rule"], "budget", cell)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())

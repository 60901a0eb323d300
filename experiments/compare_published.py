"""Does growth from the published seed give models like the published family?

The published seed architecture is grown to the parameters of As-ViT Small, Base and Large, with
widths in multiples of 1 or, as the released code has them, of 4. The grown and the published
models are measured as growth measures its candidates.

Run from a checkout: ``python -m experiments.compare_published``.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

import asvit
from asvit.architectures.genotype import Genotype
from asvit.growth.settings import ScaleSettings
from asvit.models.asvit import SIZES
from experiments.growing import SEED, GrowthSetup, growth_setup, measured
from experiments.study import Case, Study, cases, grouped
from experiments.tables import markdown
from scaling import Budget, Shape

OUT = Path("runs/compare-published")
PUBLISHED = {name.removeprefix("asvit_").capitalize(): text for name, text in SIZES.items()}
FAMILY = ("Small", "Base", "Large")
GROWN, GIVEN = "grown", "published"


@dataclass(frozen=True)
class Row:
    """A published model, or the model grown to its size."""

    multiple: int  # that widths are rounded to
    size: str
    seed: int
    model: str
    depths: str
    width: int
    params: int
    macs: int
    length_distortion: float
    ntk_condition_number: float


@cache
def setup(multiple: int, seed: int) -> GrowthSetup:
    """The growths of a seed."""
    budgets = ",".join(str(budget(size)) for size in FAMILY)
    settings = ScaleSettings.make(
        "quick", architecture=SEED, budgets=budgets, seed=seed, width_multiple=multiple
    )
    return growth_setup(settings, OUT / f"multiple{multiple}")


def budget(size: str) -> Budget:
    """The parameters of a published model."""
    return Budget("params", asvit.cost(PUBLISHED[size]).params)


def compare(multiple: int, size: str, seed: int, model: str) -> Case:
    """A model with its measures."""
    growths = setup(multiple, seed)
    if model == GROWN:
        return measured(growths.grow(budget(size)).steps[-1].chosen)
    theirs = Genotype.parse(PUBLISHED[size])
    return measured(growths.measure(Shape(theirs.depths, theirs.width)))


TABLE = Path(__file__).with_name("published.csv")
STUDY = Study(
    Row,
    TABLE,
    cases(multiple=(1, 4), size=FAMILY, seed=range(3), model=(GROWN, GIVEN)),
    compare,
)


def table() -> str:
    """Blocks and widths of both, and in how many seeds the grown model has the better measures."""
    lines = []
    for (multiple, size), rows in grouped(STUDY.rows(), ["multiple", "size"]).items():
        grown, published = ([row for row in rows if row.model == name] for name in (GROWN, GIVEN))
        if not (grown and published):
            continue
        pairs = [(one, other) for one in grown for other in published if one.seed == other.seed]
        longer = sum(a.length_distortion > b.length_distortion for a, b in pairs)
        lower = sum(a.ntk_condition_number < b.ntk_condition_number for a, b in pairs)
        second = sorted({row.depths.split(",")[1] for row in grown})
        lines.append(
            (
                *(size, multiple, f"{fmean(map(blocks, grown)):.1f}", blocks(published[0])),
                *(", ".join(second), published[0].depths.split(",")[1]),
                *(f"{fmean(row.width for row in grown):.0f}", published[0].width),
                *(f"{longer} of {len(pairs)}", f"{lower} of {len(pairs)}"),
            )
        )
    columns = ["widths in multiples of", "blocks, grown", "published", "in stage 2, grown"]
    columns += ["published ", "width, grown", "published  "]
    columns += ["grown has the higher L^E", "the lower κ_Θ"]
    return markdown({"size": "l", **dict.fromkeys(columns, "r")}, lines)


def blocks(row: Row) -> int:
    """Blocks of all stages."""
    return sum(map(int, row.depths.split(",")))


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())

"""Does growth from the published seed give models like the published family?

Run from a checkout: ``python -m experiments.compare_published``. A stopped comparison continues
when the command is given again.

The published seed architecture is grown to the parameters of As-ViT Small, Base and Large, for
each random seed. The grown and the published models are measured as growth measures its
candidates.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from asvit.architectures.genotype import Genotype
from asvit.models.asvit import SIZES
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
from scaling import Budget, Candidate, Shape

PUBLISHED = {name.removeprefix("asvit_").capitalize(): text for name, text in SIZES.items()}
FAMILY = ("Small", "Base", "Large")


@dataclass(frozen=True)
class Row(ModelRow):
    """A published model, or the model grown to its size."""

    size: str
    source: str
    seed: int
    steps: int


def main() -> None:
    """Run the missing measurements, then write and print the tables."""
    options = parser(__doc__, budgets="", out="runs/compare-published").parse_args()
    rows: list[Row] = []
    options.budgets = ",".join(str(_size(size)) for size in FAMILY)
    for seed in range(options.seeds):
        setup = growth_setup(settings_of(options, seed), options.out)
        for size in FAMILY:
            rows += _pair(setup, size)
    write_rows(options.out / "published.csv", rows)
    print(_table(rows))
    print()
    print(_summary(rows))


def _size(size: str) -> Budget:
    """The parameters of a published model as a budget."""
    from asvit.spaces import cost

    return Budget("params", cost(PUBLISHED[size]).params)


def _pair(setup: GrowthSetup, size: str) -> list[Row]:
    """The published model, and the grown model of the same size."""
    theirs = Genotype.parse(PUBLISHED[size])
    published = setup.measure(Shape(theirs.depths, theirs.width))
    series = setup.grow(_size(size))
    last = series.steps[-1]
    return [
        _row(size, "published", setup, published, steps=0),
        _row(size, "grown", setup, last.chosen, steps=last.number),
    ]


def _row(size: str, source: str, setup: GrowthSetup, model: Candidate, *, steps: int) -> Row:
    seed = setup.settings.seed
    return Row(**measured(model), size=size, source=source, seed=seed, steps=steps)


def _table(rows: Sequence[Row]) -> str:
    columns = {"size": "l", "model": "l", "seed": "r", "steps": "r", **MODEL_COLUMNS}
    return markdown(
        columns,
        [
            (r.size, r.source, r.seed, r.steps or "", *model_cells(r))
            for r in sorted(rows, key=lambda r: (FAMILY.index(r.size), r.source, r.seed))
        ],
    )


def _summary(rows: Sequence[Row]) -> str:
    """Number of seeds in which ours scores better, and depth and width of both."""
    columns = {"size": "l", "ours has higher L^E": "r", "ours has lower κ": "r"}
    columns |= {"blocks, ours": "r", "theirs": "r", "width, ours": "r", "theirs ": "r"}
    cells: list[tuple[object, ...]] = []
    for size in FAMILY:
        ours, theirs = (
            {r.seed: r for r in rows if (r.size, r.source) == (size, source)}
            for source in ("grown", "published")
        )
        longer = sum(ours[s].length_distortion > theirs[s].length_distortion for s in ours)
        lower = sum(ours[s].ntk_condition_number < theirs[s].ntk_condition_number for s in ours)
        one = theirs[min(theirs)]
        cells.append(
            (
                size,
                f"{longer} of {len(ours)}",
                f"{lower} of {len(ours)}",
                f"{statistics.fmean(_blocks(r) for r in ours.values()):.1f}",
                _blocks(one),
                f"{statistics.fmean(r.width for r in ours.values()):.0f}",
                one.width,
            )
        )
    return markdown(columns, cells)


def _blocks(row: Row) -> int:
    return sum(map(int, row.depths.split(",")))


if __name__ == "__main__":
    main()

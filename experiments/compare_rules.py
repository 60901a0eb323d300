"""Does growth by the measures train to better networks than scaling by a rule?

The published seed, 16 channels wide, is brought to one budget by growth, by the measures and at
random; every network, whose cost is that for 40 classes, is then trained from scratch on hard
fractals, as ``experiments.compare_designs`` trains. The tables have also kept trainings of what
scaling the width alone (``width``), and EfficientNet's depth and width (``compound``), end in.

Run from a checkout: ``python -m experiments.compare_rules 1M``. Every training is kept in
``rules_1M.csv``, so a stopped comparison continues when the command is run again; with
``--print`` it only prints. A training of 1M parameters takes about three minutes of one core.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import asvit
from asvit.executors import Workers
from asvit.growth.seed import GrowthSeed
from asvit.growth.settings import ScaleSettings
from experiments import compare_designs
from experiments.compare_designs import CLASSES, SIDE
from experiments.kinds import (
    Kinds,
    Row,
    differences,
    kinds_study,
)
from experiments.study import Study
from experiments.tasks import SEED
from proxies import Score
from scaling import Shape, grow
from scaling.growth import DEFAULT_MEASURES

GROWN = "grown"
AT_RANDOM = "grown at random"
START = f"{SEED},16"
GROWTHS = 3  # by the measures with other seeds, and at random
OUT = Path("runs/compare-rules")


def main() -> None:
    """Run the missing scalings and trainings, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("budget", help="such as 0.8M")
    options, words = parser.parse_known_args()
    print(tables(study(options.budget).main(None, words=words)))


def table_of(budget: str) -> Path:
    """Where the trainings at a budget are kept."""
    return Path(__file__).with_name(f"rules_{budget}.csv")


def study(budget: str) -> Study[Row]:
    """The trainings of everything that a budget ends in."""
    sizes = {"image_size": SIDE, "count_size": SIDE, "classes": CLASSES}
    measured: Mapping[str, Any] = {"preset": "quick", **sizes, "ratio": 1}

    def scaled(seed: int) -> str:
        result = asvit.run_scaling(
            START,
            out=OUT / f"{budget}-measures-seed{seed}",
            budget=budget,
            seed=seed,
            workers=Workers(jobs=1),
            **measured,
        )
        return result.series[-1].architecture

    settings = ScaleSettings.make(architecture=START, budgets=budget, **measured)
    kinds: Kinds = {
        GROWN: (GROWTHS, scaled),
        AT_RANDOM: (GROWTHS, partial(grown_at_random, settings)),
    }
    train = partial(compare_designs.train, "hard-fractals")
    return kinds_study(table_of(budget), kinds, train)


def grown_at_random(settings: ScaleSettings, number: int) -> str:
    """Growth whose every step, the final one included, chooses among its candidates at random."""
    model, rng = GrowthSeed(settings), np.random.default_rng(number)
    name = DEFAULT_MEASURES[0]

    def scored(shapes: Sequence[Shape]) -> Iterator[Mapping[str, Score]]:
        for value in map(float, rng.random(len(shapes))):
            yield {name: Score(value, 0.0, (value,), "higher")}

    trajectory = grow(
        model.build,
        model.cost,
        depths=model.start.depths,
        width=model.start.width,
        budget=settings.limits[-1],
        stop_within=settings.stop_within,
        ratio=settings.ratio,
        width_multiple=settings.width_multiple,
        measures=[name],
        measure_shapes=scored,
    )
    last = trajectory.steps[-1].chosen
    return model.name(last.depths, last.width)


def tables(rows: Sequence[Row]) -> str:
    """How much better grown networks are than those of each rule, as Markdown."""
    compared = {
        f"{one} than {other}": [(one, other)]
        for one in (GROWN, AT_RANDOM)
        for other in dict.fromkeys(row.kind for row in rows)
        if one != other
    }
    return differences(compared, rows)


if __name__ == "__main__":
    main()

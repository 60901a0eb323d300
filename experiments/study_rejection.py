"""Does REINFORCE learn where most of its draws are outside a limit and drawn again?

Nothing is trained: the accuracy of an architecture is the prediction of a process fitted to the
table asvit-fractal, and a limit on parameters leaves some share of the space. A draw outside is
either drawn again, as in every search, or is a step that counts as the worst accuracy of the
table. After 200 draws outside, a uniform draw is a step that nothing is learned from. Gains are
over uniform draws below the same limit.

Run from a checkout: ``python -m experiments.study_rejection``, four minutes of one core.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

import asvit
from asvit.reference import load_reference
from asvit.search.policy import (
    Indices,
    JointCategoricalPolicy,
    MovingBaseline,
    WindowedReward,
    reinforce_step,
)
from asvit.spaces import load_space
from experiments.study import Case, Study, cases, grouped, mean_cell
from experiments.tables import markdown

SIDE, CLASSES, WIDTH = 32, 20, 16
STEPS = 500
MOST = 200  # draws of the policy for one step, as in searches
UNIFORM = 1_000  # draws that a limit and the mean accuracy below it are taken from
PART = 100  # steps at the beginning, and at the end, that means are taken over
AGAIN, WORST = "drawn again", "counts as the worst"


class Space:
    """The space asvit, with stand-ins for trainings, and parameters as sums over dimensions."""

    def __init__(self) -> None:
        self._space = load_space("asvit")
        self.choices = [*self._space.dimensions.values()]
        table = load_reference("asvit-fractal")
        self.worst = min(table.accuracies["accuracy"])
        self._predictor = asvit.Predictor(SIDE, num_classes=CLASSES)
        self._predictor.fit(table.architectures, table.accuracies["accuracy"])

    def text(self, indices: Indices) -> str:
        """The architecture of an index in every dimension."""
        values = [choices[place] for choices, place in zip(self.choices, indices, strict=True)]
        return str(self._space.from_values(values).with_(width=WIDTH))

    def accuracies(self, draws: Sequence[Indices]) -> list[float]:
        """What the process expects, per cent."""
        return [float(mean) for mean in self._predictor.predict([*map(self.text, draws)])[0]]

    def params(self, indices: Indices) -> int:
        """Parameters, of 20 classes."""
        first, more = self._parts
        return first + sum(own[place] for own, place in zip(more, indices, strict=True))

    def below(self, limit: float, rng: np.random.Generator) -> Iterator[Indices]:
        """Uniform draws with no more parameters than ``limit``, without end."""
        while True:
            indices = tuple(int(rng.integers(len(choices))) for choices in self.choices)
            if self.params(indices) <= limit:
                yield indices

    @cached_property
    def _parts(self) -> tuple[int, list[list[int]]]:
        """Parameters of the first choices, and what others add to them, by dimension."""

        def counted(dimension: int, choice: int) -> int:
            indices = tuple(choice * (d == dimension) for d in range(len(self.choices)))
            return asvit.cost(self.text(indices), SIDE, CLASSES).params

        first = counted(0, 0)
        return first, [
            [counted(d, choice) - first for choice in range(len(choices))]
            for d, choices in enumerate(self.choices)
        ]


@cache
def limited(share: float) -> tuple[Space, int, float]:
    """The space, the limit that leaves so much of it, and the mean accuracy below it."""
    space, rng = Space(), np.random.default_rng(0)
    sizes = [space.params(indices) for indices in islice(space.below(np.inf, rng), UNIFORM)]
    limit = int(np.quantile(sizes, share))
    return space, limit, fmean(space.accuracies([*islice(space.below(limit, rng), UNIFORM)]))


@dataclass(frozen=True)
class Row:
    """A search: points over uniform draws, and shares of draws within the limit, per cent.

    Points are NaN where no draw is within.
    """

    share: float  # of the space, within the limit
    outside: str  # what becomes of a draw outside
    seed: int
    first: float
    last: float
    within_first: float
    within_last: float
    uniform: float  # steps that uniform draws took
    ends_within: int  # whether the policy's likeliest architecture is


def learn(share: float, outside: str, seed: int) -> Case:
    """Search as :class:`asvit.search.sampler.ReinforceSampler` does, below a limit."""
    space, limit, chance = limited(share)
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    sizes = [len(choices) for choices in space.choices]
    policy = JointCategoricalPolicy(sizes, generator=generator)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.08)
    reward, baseline = WindowedReward({"accuracy": "higher"}), MovingBaseline()
    gains: list[float] = []  # of each step; NaN where its draw is outside
    steps: list[tuple[int, bool]] = []  # draws of the policy in each step, the last within or not
    uniform = 0
    for _ in range(STEPS):
        draws = [policy.sample(generator)]
        while space.params(draws[-1]) > limit and outside == AGAIN and len(draws) < MOST:
            draws.append(policy.sample(generator))
        within = space.params(draws[-1]) <= limit
        steps.append((len(draws), within))
        if within:
            (accuracy,) = space.accuracies(draws[-1:])
        elif outside == AGAIN:
            (accuracy,) = space.accuracies([next(space.below(limit, rng))])
        else:
            accuracy = space.worst
        gains.append(accuracy - chance if within or outside == AGAIN else math.nan)
        gained = reward.update({"accuracy": accuracy})
        if within or outside == WORST:
            reinforce_step(policy, optimizer, draws[-1:], [gained - baseline.update(gained)])
        else:
            uniform += 1
    numbers = {
        "first": _known(gains[:PART]),
        "last": _known(gains[-PART:]),
        "within_first": _within(steps[:PART]),
        "within_last": _within(steps[-PART:]),
        "uniform": 100 * uniform / STEPS,
    }
    ends_within = int(space.params(policy.argmax()) <= limit)
    return {name: round(x, 3) for name, x in numbers.items()} | {"ends_within": ends_within}


def _known(gains: Sequence[float]) -> float:
    """The mean of gains that are no NaN; NaN without any."""
    known = [gain for gain in gains if not math.isnan(gain)]
    return fmean(known) if known else math.nan


def _within(steps: Sequence[tuple[int, bool]]) -> float:
    """Share of all draws of some steps that are within the limit, per cent.

    Each step ends at its first draw within, so a mean of the steps' own shares would be too high.
    """
    return 100 * sum(within for _, within in steps) / sum(draws for draws, _ in steps)


TABLE = Path(__file__).with_name("rejection.csv")
EVERY = cases(share=(0.5, 0.2, 0.05, 0.01), outside=(AGAIN, WORST), seed=range(5))
STUDY = Study(Row, TABLE, EVERY, learn)


def table() -> str:
    """Points over uniform draws in the last steps, and what the draws of the policy are."""
    lines = []
    for (share,), rows in grouped(STUDY.rows(), ["share"]).items():
        again, worst = ([row for row in rows if row.outside == name] for name in (AGAIN, WORST))
        names = ("within_first", "within_last", "uniform")
        if again and worst:
            shares = [f"{fmean(vars(row)[name] for row in again):.0f} %" for name in names]
            cells = (mean_cell(again, "last"), mean_cell(worst, "last"), *shares)
            lines.append((f"{share:.0%}", *cells, sum(row.ends_within for row in again)))
    columns = {"space within": "r", AGAIN: "r", f"outside {WORST}": "r"}
    columns |= {f"draws within, first {PART}": "r", f"last {PART}": "r", "uniform steps": "r"}
    return markdown({**columns, "likeliest within": "r"}, lines)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())

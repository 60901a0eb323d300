"""Does REINFORCE learn where most of its draws are outside a limit and drawn again?

Run from a checkout: ``python -m experiments.study_rejection``. Nothing is trained or measured: the
accuracy of an architecture is the prediction of a process fitted to the table asvit-fractal, and a
limit on parameters leaves some share of the space. A draw outside is either drawn again, as in
every search, or costs a step and counts as the worst accuracy of the table, the other obvious
design. After 200 draws outside, a uniform draw is a step that nothing is learned from. Gains are
over uniform draws below the same limit.
"""

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import torch

import asvit
from asvit.reference import load_reference
from asvit.search.policy import Indices, JointCategoricalPolicy, reinforce_step
from asvit.search.reward import MovingBaseline, WindowedReward
from asvit.spaces import cost, load_space
from experiments.tables import markdown

SIDE, CLASSES, WIDTH = 32, 20, 16
SHARES = (1.0, 0.5, 0.2, 0.05, 0.01)  # of the space, within the limit
MOST = 200  # draws of the policy for one step, as in searches
UNIFORM = 1_000  # draws that a limit and the mean accuracy below it are taken from
PART = 100  # steps at the beginning, and at the end, that means are taken over


class Space:
    """The space asvit with stand-ins for trainings and for counting.

    Parameters are a sum over the dimensions, so a count takes no network.
    """

    def __init__(self) -> None:
        self._space = load_space("asvit")
        self.choices = [*self._space.dimensions.values()]
        table = load_reference("asvit-fractal")
        self.worst = min(table.accuracies["accuracy"])
        self._predictor = asvit.Predictor(SIDE, num_classes=CLASSES)
        self._predictor.fit(table.architectures, table.accuracies["accuracy"])

    def text(self, drawn: Indices) -> str:
        """The architecture of an index in every dimension."""
        values = [choices[place] for choices, place in zip(self.choices, drawn, strict=True)]
        return str(self._space.from_values(values).with_(width=WIDTH))

    def accuracy(self, drawn: Indices) -> float:
        """What the process expects, per cent."""
        return float(self._predictor.predict([self.text(drawn)])[0][0])

    def params(self, drawn: Indices) -> int:
        """Parameters, of 20 classes."""
        return self._first + sum(
            more[place] for more, place in zip(self._more, drawn, strict=True)
        )

    def uniform(self, rng: np.random.Generator) -> Iterator[Indices]:
        """Architectures drawn uniformly, without end."""
        while True:
            yield tuple(int(rng.integers(len(choices))) for choices in self.choices)

    def below(self, limit: int, rng: np.random.Generator) -> Iterator[Indices]:
        """Those of them with no more parameters than ``limit``."""
        return (drawn for drawn in self.uniform(rng) if self.params(drawn) <= limit)

    @cached_property
    def _first(self) -> int:
        return self._counted((0,) * len(self.choices))

    @cached_property
    def _more(self) -> list[list[int]]:
        """Parameters that a choice adds to those of the first one, by dimension."""
        none = [0] * len(self.choices)
        return [
            [
                self._counted((*none[:place], choice, *none[place + 1 :])) - self._first
                for choice in range(len(choices))
            ]
            for place, choices in enumerate(self.choices)
        ]

    def _counted(self, drawn: Indices) -> int:
        return cost(self.text(drawn), SIDE, CLASSES).params


@dataclass(frozen=True)
class Learned:
    """What a policy has drawn."""

    accuracies: list[float]  # of the steps within the limit
    first: float  # share of the draws within the limit, in the first steps
    last: float  # and in the last
    uniform: float  # share of the steps that uniform draws took
    likeliest: float  # accuracy of the policy's likeliest architecture; NaN if it is outside


def learn(space: Space, limit: int, steps: int, seed: int, *, again: bool) -> Learned:
    """Search as :class:`asvit.search.sampler.ReinforceSampler` does, below a limit.

    Args:
        space: What is searched.
        limit: Parameters.
        steps: Architectures to learn from.
        seed: Of the draws.
        again: Whether a draw outside is drawn again; else it is a step of the worst accuracy.
    """
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    sizes = [len(choices) for choices in space.choices]
    policy = JointCategoricalPolicy(sizes, generator=generator)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.08)
    reward, baseline = WindowedReward({"accuracy": "higher"}), MovingBaseline()
    accuracies: list[float] = []
    shares: list[float] = []
    uniform = 0
    for _ in range(steps):
        drawn = [policy.sample(generator)]
        while space.params(drawn[-1]) > limit and again and len(drawn) < MOST:
            drawn.append(policy.sample(generator))
        within = space.params(drawn[-1]) <= limit
        shares.append(within / len(drawn))
        if again and not within:
            uniform += 1
            value = space.accuracy(next(space.below(limit, rng)))
            accuracies.append(value)
            reward.update({"accuracy": value})
            continue
        value = space.accuracy(drawn[-1]) if within else space.worst
        if within:
            accuracies.append(value)
        gained = reward.update({"accuracy": value})
        reinforce_step(policy, optimizer, drawn[-1:], [gained - baseline.update(gained)])
    likeliest = policy.argmax()
    ends_within = space.params(likeliest) <= limit
    return Learned(
        accuracies,
        *_first_and_last(shares),
        uniform / steps,
        space.accuracy(likeliest) if ends_within else math.nan,
    )


def _first_and_last(values: Sequence[float]) -> tuple[float, float]:
    """The means at the beginning and at the end."""
    return statistics.fmean(values[:PART]), statistics.fmean(values[-PART:])


def main() -> None:
    """Search, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    space, rng = Space(), np.random.default_rng(0)
    sizes = [space.params(one) for one in islice(space.uniform(rng), UNIFORM)]
    lines = []
    for share in SHARES:
        limit = int(np.quantile(sizes, share))
        uniform = islice(space.below(limit, rng), UNIFORM)
        chance = statistics.fmean(space.accuracy(drawn) for drawn in uniform)
        for name, again in (("drawn again", True), ("counts as the worst", False)):
            if again or share < 1:
                found = [
                    learn(space, limit, options.steps, seed, again=again)
                    for seed in range(options.seeds)
                ]
                lines.append((f"{share:.0%}", name, *_cells(found, chance)))
    print(
        markdown(
            {
                "of the space within": "r",
                "a draw outside": "l",
                f"points more than uniform draws, first {PART} steps": "r",
                f"last {PART}": "r",
                "the likeliest in the end": "r",
                f"of the draws within, first {PART}": "r",
                f"within, last {PART}": "r",
                "of the steps uniform draws": "r",
            },
            lines,
        )
    )


def _cells(found: Sequence[Learned], chance: float) -> list[str]:
    """What a design gains over ``chance``, and how many draws are within."""
    gains = [[*_first_and_last(one.accuracies), one.likeliest] for one in found if one.accuracies]
    columns = np.transpose(gains) - chance
    cells = [_mean_and_error(one) for one in columns]
    cells[-1] += f" ({np.isfinite(columns[-1]).sum()} of {len(found)})"
    shares = [
        statistics.fmean(vars(one)[when] for one in found) for when in ("first", "last", "uniform")
    ]
    return [*cells, *(f"{share:.0%}" for share in shares)]


def _mean_and_error(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return "-"
    return f"{known.mean():+.2f} ± {known.std(ddof=1) / len(known) ** 0.5:.2f}"


if __name__ == "__main__":
    main()

"""Does REINFORCE find better architectures than as many random draws, by the measures?

All architectures drawn with one seed are ranked together, by the sum of their dense ranks in L^E
and κ_Θ, from 0 (best) to 1 (worst): rewards are changes from step to step and cannot be compared
between runs. The outcome of REINFORCE is the likeliest architecture of its policy.

Run from a checkout: ``python -m experiments.compare_controllers``; a search takes two to four
minutes of one core.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

import asvit
from asvit.core.run_files import TRIALS
from asvit.search import read_trials
from asvit.search.result import SearchResult
from experiments.study import Case, Study, cases, grouped
from experiments.tables import markdown
from scaling.growth import DEFAULT_MEASURES, directions
from scaling.ranking import dense_ranks, rank_sums

OUT = Path("runs/compare-controllers")
CONTROLLERS = ("random", "reinforce")
STEPS = 500
WINDOW = 100  # first and last draws that are averaged


@dataclass(frozen=True)
class Row:
    """One search: ranks among all draws of the seed, and the mean L^E of its last draws."""

    controller: str
    seed: int
    architecture: str
    outcome: float
    best: float
    first: float
    last: float
    last_length: float


@cache
def search(controller: str, seed: int) -> SearchResult:
    """A search with three networks for each value."""
    return asvit.run_search(
        preset="quick",
        steps=STEPS,
        repeats=3,
        controller=controller,
        seed=seed,
        pick="policy",
        out=OUT / f"{controller}-seed{seed}",
    )


def compare(controller: str, seed: int) -> Case:
    """The outcome and the draws of a search among those of every controller."""
    results = {name: search(name, seed) for name in CONTROLLERS}
    draws = {name: read_trials(result.folder / TRIALS) for name, result in results.items()}
    values = {row.architecture: dict(row.values) for rows in draws.values() for row in rows}
    values |= {result.seed_architecture: dict(result.values) for result in results.values()}
    columns = {name: [own[name] for own in values.values()] for name in DEFAULT_MEASURES}
    sums = rank_sums(columns, directions(DEFAULT_MEASURES))
    places = dense_ranks(sums, better="lower")
    shares = [(place - 1) / max(1, max(places) - 1) for place in places]
    ranks = dict(zip(values, shares, strict=True))
    own = [ranks[row.architecture] for row in draws[controller]]
    lengths = [row.values["length_distortion"] for row in draws[controller][-WINDOW:]]
    outcome = results[controller].seed_architecture
    numbers = {
        "outcome": ranks[outcome],
        "best": min(own),
        "first": fmean(own[:WINDOW]),
        "last": fmean(own[-WINDOW:]),
        "last_length": fmean(lengths),
    }
    return {"architecture": outcome, **{name: round(x, 4) for name, x in numbers.items()}}


TABLE = Path(__file__).with_name("controllers.csv")
STUDY = Study(Row, TABLE, cases(seed=range(3), controller=CONTROLLERS), compare)


def table() -> str:
    """A line for each controller: ranks of the outcomes by seed, and means over the seeds."""
    columns = {"best": "best rank drawn", "first": f"mean rank, first {WINDOW} draws"}
    columns |= {"last": f"last {WINDOW}", "last_length": f"mean L^E, last {WINDOW}"}
    lines = [
        [
            controller,
            ", ".join(f"{row.outcome:.3f}" for row in rows),
            *(f"{fmean(vars(row)[name] for row in rows):.2f}" for name in columns),
        ]
        for (controller,), rows in grouped(STUDY.rows(), ["controller"]).items()
    ]
    heads = {"controller": "l", "outcome's rank by seed": "r"}
    return markdown({**heads, **dict.fromkeys(columns.values(), "r")}, lines)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())

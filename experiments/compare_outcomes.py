"""Do searched architectures train better than random ones?

Five kinds of architectures are trained from scratch with the recipe, the images and the width of
the table asvit-fractal: the likeliest one of a search's policy, the finalist that the search hands
on, the best of as many random draws by the same measures, plain random draws, and the published
seed.

Run from a checkout: ``python -m experiments.compare_outcomes``. Searches are ordinary run folders,
and every training is kept in the table, so a stopped comparison continues when the command is
run again; with the table of the repository it only prints.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

import asvit
from asvit.executors import Workers
from asvit.search.result import SearchResult
from asvit.spaces import load_space
from asvit.training.candidates import CandidateTrainer, Training
from experiments.kinds import (
    RANDOM,
    Kinds,
    Row,
    accuracies,
    accuracy_cells,
    architectures,
    differences,
    kinds_study,
)
from experiments.study import Study
from experiments.tables import markdown
from experiments.tasks import RECIPE, SEED

POLICY, PICKED, BEST, PUBLISHED = (
    "policy's likeliest", "measured again", "best of random", "published",
)  # fmt: skip
KINDS = (POLICY, PICKED, BEST, RANDOM, PUBLISHED)
TABLE = Path(__file__).with_name("outcomes.csv")
STEPS = 500  # draws of each search
SEARCHES, DRAWS = 5, 10  # of each kind, and plain random draws
OUT = Path("runs/compare-outcomes")


def trainer() -> Callable[[str, int], float]:
    """What trains with the recipe, and on the images, of the table asvit-fractal."""
    loaded = cache(partial(CandidateTrainer, RECIPE, "cpu"))
    return lambda text, seed: loaded()(Training(text, seed)).accuracy


def study() -> Study[Row]:
    """The trainings of all kinds."""
    space = load_space("asvit")
    rng = np.random.default_rng(1)  # 0 draws the table asvit-fractal
    draws = [str(space.sample(rng)) for _ in range(DRAWS)]

    def likeliest(seed: int) -> str:
        found = search("reinforce", seed).finalists
        return next(one.architecture for one in found if one.likeliest)

    kinds: Kinds = {
        POLICY: (SEARCHES, likeliest),
        PICKED: (SEARCHES, lambda n: search("reinforce", n).seed_architecture),
        BEST: (SEARCHES, lambda n: search("random", n).seed_architecture),
        RANDOM: (DRAWS, draws.__getitem__),
        PUBLISHED: (1, lambda _: SEED),
    }

    def trained(find: Callable[[int], str], number: int) -> str:
        return str(space.parse(find(number)).with_(width=RECIPE.width))

    wide = {kind: (count, partial(trained, find)) for kind, (count, find) in kinds.items()}
    return kinds_study(TABLE, wide, trainer())


def search(controller: str, seed: int) -> SearchResult:
    """A search at the image size of the recipe."""
    return asvit.run_search(
        preset="quick",
        image_size=RECIPE.image_size,
        controller=controller,
        steps=STEPS,
        seed=seed,
        out=OUT / f"{controller}-seed{seed}",
        workers=Workers(jobs=1),
    )


def tables(rows: Sequence[Row]) -> str:
    """Every architecture, the kinds, and their differences, as Markdown."""
    return "\n\n".join((_each(rows), _kinds(rows), _differences(rows)))


def _each(rows: Sequence[Row]) -> str:
    lines = [
        (kind, search, f"`{text}`", *accuracy_cells(values))
        for kind in KINDS
        for search, text, values in architectures(rows, kind)
    ]
    columns = dict.fromkeys(("architecture", "seed", "text", "accuracies"), "l")
    return markdown({**columns, "mean": "r"}, lines)


def _kinds(rows: Sequence[Row]) -> str:
    lines = []
    for kind in KINDS:
        means = [statistics.fmean(values) for values in accuracies(rows, kind).values()]
        if not means:  # in a comparison that was stopped
            continue
        apart = f"{statistics.stdev(means):.1f}" if len(means) > 1 else "-"
        lines.append((kind, len(means), f"{statistics.fmean(means):.1f}", apart))
    columns = {"architectures": "l", "number": "r", "mean": "r", "standard deviation": "r"}
    return markdown(columns, lines)


def _differences(rows: Sequence[Row]) -> str:
    pairs = [(PICKED, POLICY), (PICKED, BEST), (POLICY, BEST)]
    pairs += [(kind, RANDOM) for kind in (PICKED, POLICY, BEST, PUBLISHED)]
    pairs += [(PICKED, PUBLISHED)]
    compared = {f"{one} than {other}": [(one, other)] for one, other in pairs}
    return differences(compared, rows, paired=(POLICY, PICKED, BEST))


if __name__ == "__main__":
    print(tables(study().main(__doc__)))

"""Do searched architectures train better than random ones?

Five kinds of architectures are trained from scratch with the recipe, the images and the width of
the table asvit-fractal: the likeliest one of a search's policy, the finalist that the search hands
on, the best of as many random draws by the same measures, plain random draws, and the published
seed.

Run from a checkout: ``python -m experiments.compare_outcomes``. Searches are ordinary run folders,
and every training is kept in the table, so a stopped comparison continues when the command is
run again; with the table of the repository it only prints.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

import asvit
from asvit.executors import Workers
from asvit.search.result import SearchResult
from asvit.spaces import load_space
from asvit.training.short import CandidateTrainer, Training
from experiments.kinds import (
    RANDOM,
    Kinds,
    Row,
    differences,
    kinds_study,
)
from experiments.study import Study
from experiments.tasks import RECIPE, SEED

POLICY, PICKED, BEST, PUBLISHED = (
    "policy's likeliest", "measured again", "best of random", "published",
)  # fmt: skip
TABLE = Path(__file__).with_name("outcomes.csv")
WIDTH = 16  # channels of the first stage
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
        return str(space.parse(find(number)).with_(width=WIDTH))

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
    """The differences between the kinds, as Markdown."""
    pairs = [(PICKED, POLICY), (PICKED, BEST), (POLICY, BEST)]
    pairs += [(kind, RANDOM) for kind in (PICKED, POLICY, BEST, PUBLISHED)]
    pairs += [(PICKED, PUBLISHED)]
    compared = {f"{one} than {other}": [(one, other)] for one, other in pairs}
    return differences(compared, rows, paired=(POLICY, PICKED, BEST))


if __name__ == "__main__":
    print(tables(study().main(__doc__)))

"""Do searched architectures train better than random ones?

Five kinds of architectures are trained from scratch with the recipe, the images and the width of
the table asvit-fractal: the likeliest one of a search's policy, the finalist that the search hands
on, the best of as many random draws by the same measures, plain random draws, and the published
seed.

Run from a checkout: ``python -m experiments.compare_outcomes``. Searches are ordinary run folders,
and every training is kept in the table, so a stopped comparison continues when the command is
run again; with the table of the repository it only prints.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

import asvit
from asvit.executors import Workers
from asvit.runs.measurement_pool import EvalContext
from asvit.search.result import SearchResult
from asvit.spaces import build, load_space
from asvit.training.short import CandidateTrainer, Training
from experiments.growing import SEED
from experiments.kinds import (
    RANDOM,
    Kinds,
    Row,
    accuracies,
    accuracy_cells,
    architectures,
    differences,
    kinds_parser,
    train_kinds,
)
from experiments.tables import markdown
from experiments.tasks import RECIPE
from proxies import measure
from scaling.growth import DEFAULT_MEASURES

POLICY, PICKED, BEST, PUBLISHED = (
    "policy's likeliest", "measured again", "best of random", "published",
)  # fmt: skip
KINDS = (POLICY, PICKED, BEST, RANDOM, PUBLISHED)
TABLE = Path(__file__).with_name("outcomes.csv")
STEPS = 500  # draws of each search


def main() -> None:
    """Run the missing searches and trainings, then print the tables."""
    options = _options()
    print(tables(train_kinds(options, _kinds_of(options), trainer())))
    if options.finalists:
        print(f"\n{finalists(options)}")


def trainer() -> Callable[[str, int], float]:
    """What trains with the recipe, and on the images, of the table asvit-fractal."""
    loaded = cache(partial(CandidateTrainer, RECIPE, "cpu"))
    return lambda text, seed: loaded()(Training(text, seed)).accuracy


def _options() -> argparse.Namespace:
    parser = kinds_parser(__doc__, out="compare-outcomes", table=TABLE)
    parser.add_argument("--searches", type=int, default=5, help="seeds 0, 1, ... of each kind")
    parser.add_argument("--random", type=int, default=10, help="plain random draws")
    parser.add_argument("--finalists", action="store_true", help="measure finalists once more")
    parser.add_argument("--networks", type=int, default=16, help="to measure finalists once more")
    return parser.parse_args()


def _kinds_of(options: argparse.Namespace) -> Kinds:
    space = load_space("asvit")
    rng = np.random.default_rng(1)  # 0 draws the table asvit-fractal
    draws = [str(space.sample(rng)) for _ in range(options.random)]

    def likeliest(seed: int) -> str:
        found = search(options, "reinforce", seed).finalists
        return next(one.architecture for one in found if one.likeliest)

    kinds: Kinds = {
        POLICY: (options.searches, likeliest),
        PICKED: (options.searches, lambda n: search(options, "reinforce", n).seed_architecture),
        BEST: (options.searches, lambda n: search(options, "random", n).seed_architecture),
        RANDOM: (options.random, draws.__getitem__),
        PUBLISHED: (1, lambda _: SEED),
    }

    def trained(find: Callable[[int], str], number: int) -> str:
        return str(space.parse(find(number)).with_(width=RECIPE.width))

    return {kind: (count, partial(trained, find)) for kind, (count, find) in kinds.items()}


def search(options: argparse.Namespace, controller: str, seed: int) -> SearchResult:
    """A search at the image size of the recipe."""
    return asvit.run_search(
        preset="quick",
        image_size=RECIPE.image_size,
        controller=controller,
        steps=STEPS,
        seed=seed,
        out=options.out / f"{controller}-seed{seed}",
        workers=Workers(jobs=1),
    )


def finalists(options: argparse.Namespace) -> str:
    """The finalists that matter in each search by REINFORCE, and their measures once more.

    What measuring again picked is lucky in that measurement, too: the last column has other
    networks and circles.
    """
    lines = []
    for seed in range(options.searches):
        found = search(options, "reinforce", seed)
        likeliest, best = found.finalists[0], next(o for o in found.finalists if not o.likeliest)
        named = {POLICY: likeliest, "best measured": best, PICKED: found.seed_first[0]}
        arguments = {
            **EvalContext(found.settings).arguments,
            "repeats": options.networks,
            "seed": 1_000 + seed,
        }
        for kind, one in named.items():
            text = one.architecture
            make = partial(build, text, found.settings.image_size, 1000)
            more = measure(make, DEFAULT_MEASURES, key=text, **arguments)
            line: list[object] = [seed, kind, f"`{text}`"]
            for name in DEFAULT_MEASURES:
                values = one.values[name], one.again[name], more[name].value
                line += [f"{value:.2f}" for value in values]
            lines.append(line)
    columns = {"seed": "r", "finalist": "l", "text": "l"}
    for label in ("L^E", "κ_Θ"):
        columns |= {
            f"{label} in the search": "r",
            f"{label} again": "r",
            f"{label} once more": "r",
        }
    return markdown(columns, lines)


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
    main()

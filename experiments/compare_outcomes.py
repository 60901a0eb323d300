"""Do searched architectures train better than random ones?

Five kinds of architectures are trained from scratch with the recipe, the images and the width of
the table asvit-fractal: the likeliest one of a search's policy, the finalist that the search hands
on, the best of as many random draws by the same measures, plain random draws, and the published
seed.

Run from a checkout: ``python -m experiments.compare_outcomes``. Searches are ordinary run folders,
and every training is kept in the table, so a stopped comparison continues when the command is
given again; with the table of the repository it only prints.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import asvit
from asvit.executors import Workers
from asvit.reference import load_reference
from asvit.reference.build import Training
from asvit.reference.build_settings import BuildSettings
from asvit.reference.trainer import Trainer
from asvit.runs import SearchResult
from asvit.runs.measurement_pool import EvalContext
from asvit.spaces import build, load_space
from experiments.compare_controllers import BETTER
from experiments.growing import SEED, markdown, read_rows, write_rows
from proxies import measure

POLICY, PICKED, BEST, RANDOM, PUBLISHED = (
    "policy's likeliest", "measured again", "best of random", "random", "published",
)  # fmt: skip
KINDS = (POLICY, PICKED, BEST, RANDOM, PUBLISHED)
TABLE = Path(__file__).with_name("outcomes.csv")
RESAMPLES = 10_000


@dataclass(frozen=True)
class Row:
    """One training: test accuracy in per cent."""

    kind: str
    search: int  # seed of the search, or number of the draw
    architecture: str
    training: int  # seed of the training
    accuracy: float


def main() -> None:
    """Run the missing searches and trainings, then print the tables."""
    options = _options()
    rows = read_rows(options.table, Row)
    if not options.print:
        trainer: Trainer | None = None
        for kind, search, text, training in _trainings(options):
            if any(
                (row.kind, row.search, row.training) == (kind, search, training) for row in rows
            ):
                continue
            same = [r for r in rows if (r.architecture, r.training) == (text, training)]
            if same:
                accuracy = same[0].accuracy
            else:
                trainer = trainer or Trainer(BuildSettings.make("asvit-fractal"), "cpu")
                accuracy = trainer(Training(text, training)).accuracy
            rows.append(Row(kind, search, text, training, accuracy))
            write_rows(options.table, rows)
            print(f"{kind} {search}, training {training}: {accuracy:.2f} %", flush=True)
    print(tables(rows))
    if options.finalists:
        print(f"\n{finalists(options)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=5, help="seeds 0, 1, ... of each kind")
    parser.add_argument("--steps", type=int, default=500, help="draws of each search")
    parser.add_argument("--random", type=int, default=10, help="plain random draws")
    parser.add_argument("--trainings", type=int, default=3, help="seeds of each architecture")
    parser.add_argument("--print", action="store_true", help="only print what the table has")
    parser.add_argument("--finalists", action="store_true", help="measure finalists once more")
    parser.add_argument("--networks", type=int, default=16, help="to measure finalists once more")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--out", type=Path, default=Path("runs/compare-outcomes"))
    return parser.parse_args()


def _trainings(options: argparse.Namespace) -> Iterator[tuple[str, int, str, int]]:
    """Kind, search, text and training seed; all with one training seed before the next."""
    settings = BuildSettings.make("asvit-fractal")
    space = load_space("asvit")

    def trained(text: str) -> str:
        return str(space.parse(text).with_(width=settings.width))

    rng = np.random.default_rng(1)  # 0 draws the table asvit-fractal
    draws = [str(space.sample(rng)) for _ in range(options.random)]
    for training in range(options.trainings):
        for seed in range(options.searches):
            found = search(options, "reinforce", seed)
            likeliest = next(one for one in found.finalists if one.likeliest)
            yield POLICY, seed, trained(likeliest.architecture), training
            yield PICKED, seed, trained(found.seed_architecture), training
        for seed in range(options.searches):
            drawn = search(options, "random", seed)
            yield BEST, seed, trained(drawn.seed_architecture), training
        yield PUBLISHED, 0, trained(SEED), training
        for number, text in enumerate(draws):
            yield RANDOM, number, trained(text), training


def search(options: argparse.Namespace, controller: str, seed: int) -> SearchResult:
    """A search at the image size of the recipe."""
    return asvit.run_search(
        preset="quick",
        image_size=BuildSettings.make("asvit-fractal").image_size,
        controller=controller,
        steps=options.steps,
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
            more = measure(make, list(BETTER), key=text, **arguments)
            line: list[object] = [seed, kind, f"`{text}`"]
            for name in BETTER:
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
    return "\n\n".join((_each(rows), _kinds(rows), _differences(rows, np.random.default_rng(0))))


def accuracies(rows: Sequence[Row], kind: str) -> Mapping[int, Sequence[float]]:
    """Search or draw to the accuracies of its trainings."""
    found: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: (row.search, row.training)):
        if row.kind == kind:
            found.setdefault(row.search, []).append(row.accuracy)
    return found


def difference(
    rows: Sequence[Row], one: str, other: str, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Mean accuracy of ``one`` minus that of ``other``, with the ends of its 95 % interval.

    Both means are over architectures of the mean over their trainings. The bootstrap draws
    architectures, then trainings of each. Two outcomes of searches with one seed share circle,
    images and initial weights of the measures, so they are drawn together.
    """
    left, right = accuracies(rows, one), accuracies(rows, other)
    paired = left.keys() == right.keys() and {one, other} <= {POLICY, PICKED, BEST}
    places = rng.integers(len(left), size=(RESAMPLES, len(left)))
    others = places if paired else rng.integers(len(right), size=(RESAMPLES, len(right)))
    low, high = np.quantile(_means(left, places, rng) - _means(right, others, rng), [0.025, 0.975])
    known = [statistics.fmean(map(statistics.fmean, side.values())) for side in (left, right)]
    return known[0] - known[1], float(low), float(high)


def _means(
    found: Mapping[int, Sequence[float]], places: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Mean of each resample, ``[resamples]``: of architectures at ``places``, and trainings."""
    counts = np.array([len(values) for values in found.values()])
    values = np.zeros((len(found), counts.max()))
    for row, own in zip(values, found.values(), strict=True):
        row[: len(own)] = own
    own_counts = counts[places][..., None]
    drawn = (rng.random((*places.shape, counts.max())) * own_counts).astype(int)
    used = np.arange(counts.max()) < own_counts  # as many draws as trainings
    chosen = values[places[..., None], drawn] * used
    means: NDArray[np.float64] = (chosen.sum(axis=-1) / own_counts[..., 0]).mean(axis=-1)
    return means


def _each(rows: Sequence[Row]) -> str:
    table = load_reference("asvit-fractal")
    known = table.accuracies["accuracy"]
    lines = []
    for kind in KINDS:
        texts = {row.search: row.architecture for row in rows if row.kind == kind}
        for search, values in accuracies(rows, kind).items():
            mean = statistics.fmean(values)
            told = ", ".join(f"{value:.1f}" for value in values)
            below = sum(value < mean for value in known)
            lines.append((kind, search, f"`{texts[search]}`", told, f"{mean:.1f}", below))
    columns = dict.fromkeys(("architecture", "seed", "text", "accuracies"), "l")
    columns |= {"mean": "r", f"of {len(known)} in the table, better than": "r"}
    return markdown(columns, lines)


def _kinds(rows: Sequence[Row]) -> str:
    lines = []
    for kind in KINDS:
        means = [statistics.fmean(values) for values in accuracies(rows, kind).values()]
        apart = f"{statistics.stdev(means):.1f}" if len(means) > 1 else "-"
        lines.append((kind, len(means), f"{statistics.fmean(means):.1f}", apart))
    columns = {"architectures": "l", "number": "r", "mean": "r", "standard deviation": "r"}
    return markdown(columns, lines)


def _differences(rows: Sequence[Row], rng: np.random.Generator) -> str:
    pairs = [(PICKED, POLICY), (PICKED, BEST), (POLICY, BEST)]
    pairs += [(kind, RANDOM) for kind in (PICKED, POLICY, BEST, PUBLISHED)]
    pairs += [(PICKED, PUBLISHED)]
    lines = []
    for one, other in pairs:
        mean, low, high = difference(rows, one, other, rng)
        lines.append((f"{one} than {other}", f"{mean:+.1f}", f"{low:+.1f} to {high:+.1f}"))
    return markdown({"points more": "l", "mean": "r", "95 % interval": "r"}, lines)


if __name__ == "__main__":
    main()

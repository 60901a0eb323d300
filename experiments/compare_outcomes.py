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
import math
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

import asvit
from asvit.executors import Workers
from asvit.reference import load_reference
from asvit.reference.build import Training
from asvit.reference.build_settings import BuildSettings
from asvit.reference.intervals import Estimate, contrast
from asvit.reference.trainer import Trainer
from asvit.runs.measurement_pool import EvalContext
from asvit.search.result import SearchResult
from asvit.spaces import build, load_space
from experiments.compare_controllers import BETTER
from experiments.growing import SEED, markdown, read_rows, write_rows
from proxies import Cost, measure

POLICY, PICKED, BEST, RANDOM, PUBLISHED = (
    "policy's likeliest", "measured again", "best of random", "random", "published",
)  # fmt: skip
KINDS = (POLICY, PICKED, BEST, RANDOM, PUBLISHED)
TABLE = Path(__file__).with_name("outcomes.csv")
RECIPE = BuildSettings.make("asvit-fractal")
#: Columns of a table of architectures with their sizes, and how they are aligned.
SIZED = dict.fromkeys(("architecture", "seed", "text"), "l") | {"params": "r", "MACs": "r"}
SIZED |= {"accuracies": "l", "mean": "r"}

# Kind to the number of its architectures, and what gives the text of each by its number.
Kinds = Mapping[str, tuple[int, Callable[[int], str]]]


@dataclass(frozen=True)
class Row:
    """One training: test accuracy in per cent."""

    kind: str
    search: int  # seed of the search or growth, or number of the draw
    architecture: str
    training: int  # seed of the training
    accuracy: float


def main() -> None:
    """Run the missing searches and trainings, then print the tables."""
    options = _options()
    if options.print:
        rows = read_rows(options.table, Row)
    else:
        rows = train_missing(options.table, options.trainings, _kinds_of(options))
    print(tables(rows))
    if options.finalists:
        print(f"\n{finalists(options)}")


def train_missing(
    table: Path, trainings: int, kinds: Kinds, train: Callable[[Training], float] | None = None
) -> list[Row]:
    """The rows of ``table`` after training what it lacks of ``kinds``.

    All architectures are trained once before any is trained again. The table is written after
    every training; an architecture that it names is not looked for again.

    Args:
        table: CSV file of rows.
        trainings: Seeds of each architecture.
        kinds: What to train.
        train: Trains a network and returns its accuracy; by default with the recipe, and on the
            images, of the table asvit-fractal.
    """
    rows = read_rows(table, Row)
    accuracies = {(row.architecture, row.training): row.accuracy for row in rows}
    texts = {(row.kind, row.search): row.architecture for row in rows}
    done = {(row.kind, row.search, row.training) for row in rows}
    trainer = cache(partial(Trainer, RECIPE, "cpu"))
    train = train or (lambda training: trainer()(training).accuracy)
    wanted = [
        (kind, search, training)
        for training in range(trainings)
        for kind, (count, _) in kinds.items()
        for search in range(count)
    ]
    order = {one: place for place, one in enumerate(kinds)}
    for kind, search, training in wanted:
        if (kind, search, training) in done:
            continue
        text = texts.get((kind, search)) or kinds[kind][1](search)
        texts[kind, search] = text
        if (text, training) not in accuracies:
            accuracies[text, training] = train(Training(text, training))
        accuracy = accuracies[text, training]
        rows.append(Row(kind, search, text, training, accuracy))
        rows.sort(key=lambda row: (order[row.kind], row.search, row.training))
        write_rows(table, rows)
        print(f"{kind} {search}, training {training}: {accuracy:.2f} %", flush=True)
    return rows


def training_parser(
    doc: str | None, out: str, *, table: Path | None = None
) -> argparse.ArgumentParser:
    """A parser with the options of every script that trains what its table lacks."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--trainings", type=int, default=3, help="seeds of each architecture")
    parser.add_argument("--print", action="store_true", help="only print what the table has")
    parser.add_argument("--table", type=Path, default=table)
    parser.add_argument("--out", type=Path, default=Path("runs") / out)
    return parser


def _options() -> argparse.Namespace:
    parser = training_parser(__doc__, "compare-outcomes", table=TABLE)
    parser.add_argument("--searches", type=int, default=5, help="seeds 0, 1, ... of each kind")
    parser.add_argument("--steps", type=int, default=500, help="draws of each search")
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
    return "\n\n".join((_each(rows), _kinds(rows), _differences(rows)))


def accuracies(rows: Sequence[Row], kind: str) -> Mapping[int, Sequence[float]]:
    """Search or draw to the accuracies of its trainings."""
    found: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: (row.search, row.training)):
        if row.kind == kind:
            found.setdefault(row.search, []).append(row.accuracy)
    return found


def architectures(rows: Sequence[Row], kind: str) -> Iterator[tuple[int, str, Sequence[float]]]:
    """Search or draw, architecture, and the accuracies of its trainings."""
    texts = {row.search: row.architecture for row in rows if row.kind == kind}
    for search, values in accuracies(rows, kind).items():
        yield search, texts[search], values


def told(values: Sequence[float]) -> tuple[str, str]:
    """Accuracies and their mean as cells of a table."""
    return ", ".join(f"{value:.1f}" for value in values), f"{statistics.fmean(values):.1f}"


def sized_line(
    kind: str, number: object, text: str, size: Cost, values: Sequence[float], *, digits: int = 1
) -> tuple[object, ...]:
    """The cells of an architecture under :data:`SIZED`; ``digits`` are those of its millions."""
    costs = f"{size.params / 1e6:.2f}M", f"{size.macs / 1e6:.{digits}f}M"
    return kind, number, f"`{text}`", *costs, *told(values)


def difference(
    rows: Sequence[Row],
    pairs: Sequence[tuple[str, str]],
    *,
    paired: Collection[str] = (POLICY, PICKED, BEST),
) -> Estimate:
    """Mean accuracy of one kind minus that of another, with Welch's or Student's 95 % interval.

    Of several pairs of kinds, it is the mean of their differences. A kind has a value for each of
    its architectures, the mean over trainings, or where it has one architecture for each training;
    an architecture that several searches or growths end in counts once. Two outcomes of searches
    with one seed share what they are judged by, such as the images and initial weights of the
    measures; of kinds in ``paired``, their differences are the values.
    """
    terms: list[tuple[float, Sequence[float]]] = []
    for pair in pairs:
        weight = 1 / len(pairs)
        left, right = (accuracies(rows, kind) for kind in pair)
        if left.keys() == right.keys() and len(left) > 1 and {*pair} <= {*paired}:
            means = ([statistics.fmean(side[n]) for n in left] for side in (left, right))
            terms.append((weight, [one - other for one, other in zip(*means, strict=True)]))
        else:
            terms += [(weight, values_of(rows, pair[0])), (-weight, values_of(rows, pair[1]))]
    return contrast(*terms)


def values_of(rows: Sequence[Row], kind: str) -> Sequence[float]:
    """Mean of each architecture of a kind, or the accuracies of its only one."""
    distinct = {text: values for _, text, values in architectures(rows, kind)}
    if len(distinct) > 1:
        return [statistics.fmean(values) for values in distinct.values()]
    return next(iter(distinct.values()))


def points(found: Estimate) -> tuple[str, str]:
    """Points more and their interval, as cells of a table; bold where it excludes 0."""
    low, high = found.interval
    mark = "**" if low > 0 or high < 0 else ""
    interval = f"{low:+.1f} to {high:+.1f}" if math.isfinite(low) else "-"
    return f"{mark}{found.value:+.1f}{mark}", f"{mark}{interval}{mark}"


def in_a_cell(found: Estimate) -> str:
    """The same as one cell."""
    value, interval = points(found)
    told = value if interval == "-" else f"{value} ({interval})"
    return told.replace("** (**", " (").replace("**)", ")**").replace("-", "−")


def _each(rows: Sequence[Row]) -> str:
    table = load_reference("asvit-fractal")
    known = table.accuracies["accuracy"]
    lines = []
    for kind in KINDS:
        for search, text, values in architectures(rows, kind):
            below = sum(value < statistics.fmean(values) for value in known)
            lines.append((kind, search, f"`{text}`", *told(values), below))
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


def _differences(rows: Sequence[Row]) -> str:
    pairs = [(PICKED, POLICY), (PICKED, BEST), (POLICY, BEST)]
    pairs += [(kind, RANDOM) for kind in (PICKED, POLICY, BEST, PUBLISHED)]
    pairs += [(PICKED, PUBLISHED)]
    return points_more({f"{one} than {other}": [(one, other)] for one, other in pairs}, rows)


def points_more(
    compared: Mapping[str, Sequence[tuple[str, str]]],
    rows: Sequence[Row],
    *,
    paired: Collection[str] = (POLICY, PICKED, BEST),
) -> str:
    """The differences of labelled pairs of kinds, as Markdown; see :func:`difference`."""
    lines = [
        (label, *points(difference(rows, pairs, paired=paired)))
        for label, pairs in compared.items()
    ]
    return markdown({"points more": "l", "mean": "r", "95 % interval": "r"}, lines)


if __name__ == "__main__":
    main()

"""Compares supernet winners with training-free winners and random paths, at equal cost.

Every seed has its own images, supernet, evolution and training-free search. There are two kinds of
random paths: from the whole space, and from the first generation of the evolution, which respects
its limit of multiply-adds at the width of the supernet. Every architecture gets the largest width
within that limit and is trained from scratch with the images and the steps of the supernet.

Run from a checkout: ``python -m experiments.compare_psvit --seeds 3``. Supernets, evolutions and
searches are ordinary run folders, and every training is recorded, so a stopped comparison
continues when the command is given again.
"""

import argparse
import csv
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import asvit
from asvit.core.run_files import TRIALS
from asvit.reference.intervals import contrast
from asvit.runs.evolution import evolve_supernet
from asvit.runs.supernet import train_supernet
from asvit.search.supernet_result import EvolutionResult
from asvit.spaces import load_space
from asvit.spaces.architectures import build_on_meta
from asvit.training.supernets.retraining import train_alone
from asvit.training.supernets.settings import SupernetSettings
from asvit.training.supernets.splits import Splits, load_splits
from experiments.compare_outcomes import points
from experiments.growing import read_rows, write_rows
from proxies import count

# So many classes that no network learns all of them.
TRAINING: dict[str, Any] = {
    "classes": 60, "train_images": 3000, "validation_images": 1000, "test_images": 2000,
    "image_size": 32, "width": 24, "epochs": 20, "batch_size": 50,
}  # fmt: skip
EVOLUTION: dict[str, Any] = {"generations": 10, "random_paths": 20}

TABLE = Path(__file__).with_name("psvit.csv")
SUPERNET, FREE, WITHIN, RANDOM = "supernet", "training-free", "within", "random"


@dataclass(frozen=True)
class Row:
    """One training of one architecture; the accuracy is on the test images, per cent."""

    seed: int
    origin: str
    architecture: str
    params: int
    macs: int
    accuracy: float


def main() -> None:
    """Run the missing searches and trainings, then print the tables."""
    options = _options()
    for seed in range(0 if options.print else options.seeds):
        folder = options.out / f"seed{seed}"
        supernet = train_supernet(
            space=options.space, data=options.data, seed=seed, out=folder / "net", **TRAINING
        )
        evolution = evolve_supernet(folder / "net", seed=seed, out=folder / "found", **EVOLUTION)
        parts = load_splits(supernet.settings)
        limit = int(evolution.settings.max_macs or 0)
        for origin, text in _architectures(options, evolution, supernet.settings):
            fitted = at_limit(text, supernet.settings, parts.classes, limit)
            rows = read_rows(options.table, Row)
            if (seed, origin, fitted) not in {(r.seed, r.origin, r.architecture) for r in rows}:
                rows.append(_train(seed, origin, fitted, supernet.settings, parts))
                print(f"seed {seed}, {origin}: {rows[-1].accuracy:.2f} %", flush=True)
                write_rows(options.table, rows)
    print("\n\n".join(tables(options.table)))


def tables(table: Path = TABLE) -> tuple[str, str]:
    """Every training, and the differences between the kinds, as Markdown."""
    rows = read_rows(table, Row)
    return _trainings(rows), "\n".join(_differences(rows))


def at_limit(text: str, settings: SupernetSettings, num_classes: int, limit: int) -> str:
    """An architecture at the largest width whose multiply-adds do not exceed ``limit``.

    Raises:
        ValueError: If the smallest width exceeds it.
    """
    space = load_space(settings.space)
    path = space.parse(text)

    def fits(width: int) -> bool:
        wider = str(path.with_(width=width))
        network = build_on_meta(wider, image_size=settings.image_size, num_classes=num_classes)
        return count(network, settings.image_size).macs <= limit

    low = high = path.heads[0]
    if not fits(low):
        raise ValueError(f"{text} takes more than {limit:,} multiply-adds at its smallest width")
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return str(path.with_(width=low))


def gaps(rows: Sequence[Row], one: str, other: str) -> list[float]:
    """Accuracy of ``one`` minus that of ``other`` for every seed, in percentage points.

    Several architectures of one kind are averaged per seed.
    """
    seeds = sorted({row.seed for row in rows})
    means = {
        (seed, kind): statistics.fmean(
            row.accuracy for row in rows if row.seed == seed and row.origin.startswith(kind)
        )
        for seed in seeds
        for kind in (one, other)
    }
    return [means[seed, one] - means[seed, other] for seed in seeds]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="psvit2d")
    parser.add_argument("--data", default="fractal")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="of the training-free search")
    parser.add_argument("--random", type=int, default=2, help="random paths of each kind")
    parser.add_argument("--print", action="store_true", help="only print what the table has")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--out", type=Path, default=Path("runs/compare-psvit"))
    return parser.parse_args()


def _architectures(
    options: argparse.Namespace, evolution: EvolutionResult, settings: SupernetSettings
) -> Iterator[tuple[str, str]]:
    """The origin and the text of each architecture."""
    yield SUPERNET, evolution.winner.architecture
    found = asvit.run_search(
        space=settings.space,
        preset="quick",
        steps=options.steps,
        image_size=settings.image_size,
        data=settings.images,
        seed=settings.seed,
        out=options.out / f"seed{settings.seed}" / "search",
    )
    yield FREE, found.seed_architecture
    with (evolution.folder / TRIALS).open(newline="") as file:
        first = list(csv.DictReader(file))[: options.random]  # the first generation is random
    for number, row in enumerate(first, 1):
        yield f"{WITHIN} {number}", row["architecture"]
    rng = np.random.default_rng(settings.seed)
    space = load_space(settings.space)
    for number in range(1, options.random + 1):
        yield f"{RANDOM} {number}", str(space.sample(rng))


def _train(seed: int, origin: str, text: str, settings: SupernetSettings, parts: Splits) -> Row:
    trained = train_alone(text, settings, parts)
    cost = count(trained.model, settings.image_size)
    return Row(seed, origin, text, cost.params, cost.macs, trained.accuracy)


def _trainings(rows: Sequence[Row]) -> str:
    lines = ["| seed | architecture of | text | params | multiply-adds | test accuracy |"]
    lines.append("|--:|---|---|---:|---:|---:|")
    for row in sorted(rows, key=lambda row: row.seed):
        text = row.architecture.replace("|", r"\|")
        counts = f"{row.params:,} | {row.macs:,}"
        lines.append(f"| {row.seed} | {row.origin} | `{text}` | {counts} | {row.accuracy:.2f} |")
    return "\n".join(lines)


def _differences(rows: Sequence[Row]) -> list[str]:
    lines = ["| points more | in each seed | mean | 95 % interval |", "|---|---|---:|---:|"]
    pairs = (
        (SUPERNET, FREE), (SUPERNET, WITHIN), (SUPERNET, RANDOM), (FREE, RANDOM), (WITHIN, RANDOM),
    )  # fmt: skip
    for one, other in pairs:
        found = gaps(rows, one, other)
        each = ", ".join(f"{gap:+.2f}" for gap in found)
        mean, interval = points(contrast((1, found)))
        lines.append(f"| {one} than {other} | {each} | {mean} | {interval} |")
    return lines


if __name__ == "__main__":
    main()

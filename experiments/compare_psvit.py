"""The winner of a supernet beside that of the training-free search, trained at the same cost.

Run from a checkout: ``python -m experiments.compare_psvit RUN``, where RUN is the run folder of a
finished ``asvit supernet evolve``. It searches the same space without training, draws random
architectures, brings all of them to the largest width whose multiply-adds stay within the limit
of the evolution, and trains each from scratch with the images and the steps of the supernet. The
search is an ordinary run folder and every training is kept, so that a stopped comparison
continues when the command is given again.
"""

import argparse
import csv
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import asvit
from asvit.runs.evolution import read_supernet
from asvit.runs.evolution_result import EvolutionResult
from asvit.runs.retraining import train_alone
from asvit.spaces import load_space
from asvit.spaces.architectures import build_on_meta
from asvit.training.parts import Parts, load_parts
from asvit.training.supernet_settings import SupernetSettings
from proxies import count


@dataclass(frozen=True)
class Row:
    """One training of one architecture; the accuracy is on the test images, per cent."""

    origin: str
    architecture: str
    params: int
    macs: int
    seed: int
    accuracy: float


def main() -> None:
    """Search, draw and train what is missing, then print the table."""
    options = _options()
    evolution = EvolutionResult.read(options.run / "result.json")
    settings = read_supernet(Path(evolution.provenance["supernet"]["folder"])).origin.settings
    parts = load_parts(settings)
    limit = int(evolution.settings.max_macs or 0)
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "trainings.csv"
    rows = _read(table)
    for origin, text in _contestants(options, evolution, settings):
        fitted = at_limit(text, settings, parts.classes, limit)
        for seed in range(options.seeds):
            if (origin, fitted, seed) not in {(r.origin, r.architecture, r.seed) for r in rows}:
                rows.append(_train(origin, fitted, settings, parts, seed))
                print(f"{origin}, seed {seed}: {rows[-1].accuracy:.2f} %", flush=True)
                _write(table, rows)
    print(_table(rows))


def at_limit(text: str, settings: SupernetSettings, num_classes: int, limit: int) -> str:
    """An architecture at the largest width whose multiply-adds do not exceed ``limit``.

    Raises:
        ValueError: If it does at its smallest width.
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


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder of an evolution")
    parser.add_argument("--steps", type=int, default=200, help="of the training-free search")
    parser.add_argument("--random", type=int, default=3, help="random architectures")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each")
    parser.add_argument("--out", type=Path, default=Path("runs/compare-psvit"))
    return parser.parse_args()


def _contestants(
    options: argparse.Namespace, evolution: EvolutionResult, settings: SupernetSettings
) -> list[tuple[str, str]]:
    """Where an architecture comes from, and its text."""
    found = asvit.run_search(
        space=settings.space,
        preset="quick",
        steps=options.steps,
        image_size=settings.image_size,
        data=settings.images,
        seed=settings.seed,
        out=options.out / "search",
    )
    rng = np.random.default_rng(settings.seed)
    space = load_space(settings.space)
    drawn = [(f"random {i}", str(space.sample(rng))) for i in range(1, options.random + 1)]
    return [
        ("supernet", evolution.winner.architecture),
        ("training-free", found.seed_architecture),
        *drawn,
    ]


def _train(origin: str, text: str, settings: SupernetSettings, parts: Parts, seed: int) -> Row:
    model, fitted = train_alone(text, settings, parts, seed=seed)
    cost = count(model, settings.image_size)
    return Row(origin, text, cost.params, cost.macs, seed, fitted.accuracy)


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Row(
                row["origin"],
                row["architecture"],
                int(row["params"]),
                int(row["macs"]),
                int(row["seed"]),
                float(row["accuracy"]),
            )
            for row in csv.DictReader(file)
        ]


def _write(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _table(rows: list[Row]) -> str:
    lines = ["| architecture of | text | params | multiply-adds | accuracies | mean |"]
    lines.append("|---|---|---:|---:|---|---:|")
    for origin in dict.fromkeys(row.origin for row in rows):
        own = [row for row in rows if row.origin == origin]
        first = own[0]
        text = first.architecture.replace("|", r"\|")
        each = ", ".join(f"{row.accuracy:.2f}" for row in own)
        mean = statistics.fmean(row.accuracy for row in own)
        lines.append(
            f"| {origin} | `{text}` | {first.params:,} | {first.macs:,} | {each} | {mean:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

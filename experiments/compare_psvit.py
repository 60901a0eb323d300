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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import asvit
from asvit.core.run_files import TRIALS
from asvit.runs.evolution import evolve_supernet
from asvit.runs.supernet import train_supernet
from asvit.search.supernet_result import EvolutionResult
from asvit.spaces import load_space
from asvit.spaces.architectures import build_on_meta
from asvit.training.short import accuracy
from asvit.training.supernets.settings import SupernetSettings
from asvit.training.supernets.single_path import SupernetTraining
from asvit.training.supernets.splits import Splits, load_splits
from experiments.study import Case, Study, add_table_options, cases, gain, points
from experiments.tables import read_rows
from proxies import count
from proxies.evaluation import seed_for

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
    numbers = range(1, options.random + 1)
    origins = [SUPERNET, FREE, *(f"{kind} {n}" for kind in (WITHIN, RANDOM) for n in numbers)]

    @cache
    def seeded(seed: int) -> tuple[SupernetSettings, int, Mapping[str, str]]:
        folder = options.out / f"seed{seed}"
        supernet = train_supernet(
            space=options.space, data=options.data, seed=seed, out=folder / "net", **TRAINING
        )
        evolution = evolve_supernet(folder / "net", seed=seed, out=folder / "found", **EVOLUTION)
        texts = _architectures(options, evolution, supernet.settings)
        limit = int(evolution.settings.max_macs or 0)
        return supernet.settings, limit, dict(zip(origins, texts, strict=True))

    def train(seed: int, origin: str) -> Case:
        settings, limit, texts = seeded(seed)
        parts = load_splits(settings)
        text = at_limit(texts[origin], settings, parts.classes, limit)
        model = train_alone(text, settings, parts)
        cost = count(model, settings.image_size)
        top1 = accuracy(model, *parts.test)
        return {"architecture": text, "params": cost.params, "macs": cost.macs, "accuracy": top1}

    if not options.print:
        every = cases(seed=range(options.seeds), origin=origins)
        Study(Row, options.table, every, train).run()
    print("\n\n".join(tables(options.table)))


def tables(table: Path = TABLE) -> tuple[str, str]:
    """Every training, and the differences between the kinds, as Markdown."""
    rows = read_rows(table, Row)
    return _trainings(rows), "\n".join(_differences(rows))


class OnlyPath(nn.Module):
    """A network as a supernet with one path."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, _path: None) -> Tensor:  # noqa: D102
        return cast("Tensor", self.network(images))


def train_alone(architecture: str, settings: SupernetSettings, parts: Splits) -> nn.Module:
    """Train an architecture from fresh weights by its supernet's recipe.

    It takes as many steps as the supernet for all paths, also on the images that ranked paths.
    """
    images, labels = (torch.cat(both) for both in zip(parts.train, parts.validation, strict=True))
    seed = seed_for(settings.seed, f"alone {architecture}", 0)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = asvit.build(architecture, settings.image_size, parts.classes)
    network, recipe = OnlyPath(model), settings.recipe
    training = SupernetTraining(
        network, (images, labels), recipe, draw=lambda _rng: None, seed=seed
    )
    training.run(save=lambda: None)
    return model


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


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_table_options(parser, TABLE)
    parser.add_argument("--space", default="psvit2d")
    parser.add_argument("--data", default="fractal")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="of the training-free search")
    parser.add_argument("--random", type=int, default=2, help="random paths of each kind")
    parser.add_argument("--out", type=Path, default=Path("runs/compare-psvit"))
    return parser.parse_args()


def _architectures(
    options: argparse.Namespace, evolution: EvolutionResult, settings: SupernetSettings
) -> list[str]:
    """The text of every origin."""
    free = asvit.run_search(
        space=settings.space,
        preset="quick",
        steps=options.steps,
        image_size=settings.image_size,
        data=settings.images,
        seed=settings.seed,
        out=options.out / f"seed{settings.seed}" / "search",
    )
    with (evolution.folder / TRIALS).open(newline="") as file:
        first = list(csv.DictReader(file))[: options.random]  # the first generation is random
    rng, space = np.random.default_rng(settings.seed), load_space(settings.space)
    drawn = [str(space.sample(rng)) for _ in range(options.random)]
    within = [row["architecture"] for row in first]
    return [evolution.winner.architecture, free.seed_architecture, *within, *drawn]


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
    for pair in pairs:
        one, other = ([row for row in rows if row.origin.startswith(kind)] for kind in pair)
        seeds = [
            gain([r for r in one if r.seed == seed], [r for r in other if r.seed == seed]).value
            for seed in sorted({row.seed for row in rows})
        ]
        mean, interval = points(gain(one, other, pair=["seed"]))
        each = ", ".join(f"{points:+.2f}" for points in seeds)
        lines.append(f"| {pair[0]} than {pair[1]} | {each} | {mean} | {interval} |")
    return lines


if __name__ == "__main__":
    main()

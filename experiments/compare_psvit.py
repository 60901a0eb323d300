"""Do supernets, or training-free searches, find better PSViT paths than chance, at equal cost?

Every seed has its own images, supernet, evolution and training-free search. There are two kinds of
random paths: from the whole space, and from the first generation of the evolution, which respects
its limit of multiply-adds at the width of the supernet. Every architecture gets the largest width
within that limit and is trained from scratch with the images and the steps of the supernet.

Run from a checkout: ``python -m experiments.compare_psvit``.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import asvit
from asvit.core.run_files import TRIALS
from asvit.runs.supernet import evolve_supernet, train_supernet
from asvit.spaces import load_space
from asvit.statistics.intervals import contrast
from asvit.training.distributed import ProcessGroup
from asvit.training.short import accuracy
from asvit.training.short_settings import SupernetSettings, images_of
from asvit.training.supernet import SinglePath, Splits, load_splits, supernet_recipe
from asvit.training.trainer import Trainer
from experiments.study import Case, Study, cases, paired_differences, points
from experiments.tables import markdown
from experiments.tasks import limits_of
from proxies import count
from proxies.evaluation import seed_for

# So many classes that no network learns all of them.
TRAINING: dict[str, Any] = {
    "classes": 60, "train_images": 3000, "validation_images": 1000, "test_images": 2000,
    "image_size": 32, "width": 24, "epochs": 20, "batch_size": 50,
}  # fmt: skip
EVOLUTION: dict[str, Any] = {"generations": 10}

SPACE = "psvit2d"
STEPS = 100  # of the training-free search
NUMBERS = (1, 2)  # random paths of each kind
OUT = Path("runs/compare-psvit")
SUPERNET, FREE, WITHIN, RANDOM = "supernet", "training-free", "within", "random"
ORIGINS = (SUPERNET, FREE, *(f"{kind} {n}" for kind in (WITHIN, RANDOM) for n in NUMBERS))
PAIRS = (
    (SUPERNET, FREE), (SUPERNET, WITHIN), (SUPERNET, RANDOM),
    (FREE, WITHIN), (FREE, RANDOM), (WITHIN, RANDOM),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One training of one architecture; the accuracy is on the test images, per cent."""

    seed: int
    origin: str
    architecture: str
    params: int
    macs: int
    accuracy: float


@cache
def outcomes(seed: int) -> tuple[SupernetSettings, int, Mapping[str, str]]:
    """Settings of the supernet, the limit of multiply-adds, and the text of every origin."""
    folder = OUT / f"seed{seed}"
    supernet = train_supernet(
        space=SPACE, data="fractal", seed=seed, out=folder / "net", **TRAINING
    )
    evolution = evolve_supernet(folder / "net", seed=seed, out=folder / "found", **EVOLUTION)
    settings = supernet.settings
    free = asvit.run_search(
        space=SPACE,
        preset="quick",
        steps=STEPS,
        image_size=settings.image_size,
        data=images_of(settings),
        seed=seed,
        out=folder / "search",
    )
    with (evolution.folder / TRIALS).open(newline="") as file:
        first = [row["architecture"] for row in csv.DictReader(file)]  # the first are random
    rng, space = np.random.default_rng(seed), load_space(SPACE)
    texts = [evolution.architecture, free.seed_architecture, *first[: len(NUMBERS)]]
    texts += [str(space.sample(rng)) for _ in NUMBERS]
    limit = int(evolution.settings.max_macs or 0)
    return settings, limit, dict(zip(ORIGINS, texts, strict=True))


def train(seed: int, origin: str) -> Case:
    """The architecture of an origin, its size, and its accuracy."""
    settings, limit, texts = outcomes(seed)
    parts = load_splits(settings)
    text = at_limit(texts[origin], settings, parts.classes, limit)
    model = train_alone(text, settings, parts)
    cost, top1 = count(model, settings.image_size), accuracy(model, *parts.test)
    return {"architecture": text, "params": cost.params, "macs": cost.macs, "accuracy": top1}


TABLE = Path(__file__).with_name("psvit.csv")
STUDY = Study(Row, TABLE, cases(seed=range(3), origin=ORIGINS), train)


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
    network, recipe = OnlyPath(model), supernet_recipe(settings)
    task = SinglePath(network, (images, labels), recipe, draw=lambda _rng: None, seed=seed)
    trainer = Trainer(task, ProcessGroup("cpu"), epochs=settings.epochs)
    for epoch in range(settings.epochs):
        trainer.train(epoch)
    return model


def at_limit(text: str, settings: SupernetSettings, num_classes: int, limit: int) -> str:
    """An architecture at the largest width whose multiply-adds do not exceed ``limit``.

    Raises:
        ValueError: If the smallest width exceeds it.
    """
    limits = limits_of(settings.space, settings.image_size, num_classes, max_macs=limit)
    path = limits.network(load_space(settings.space).parse(text))
    if excess := limits.excess(path, as_is=True):
        raise ValueError(f"{text} has at its smallest width {excess.reason}")
    return str(path)


def table() -> str:
    """The differences between the kinds, in each seed and in the mean."""
    rows, lines = STUDY.rows(), []
    for pair in PAIRS:
        sides = [[row for row in rows if row.origin.startswith(kind)] for kind in pair]
        if differences := paired_differences(*sides, pair=["seed"]):
            each = ", ".join(f"{one:+.2f}" for one in differences)
            cells = points(contrast((1, differences)))
            lines.append((f"{pair[0]} than {pair[1]}", each, *cells))
    columns = {"points more": "l", "in each seed": "l", "mean": "r", "95 % interval": "r"}
    return markdown(columns, lines)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())

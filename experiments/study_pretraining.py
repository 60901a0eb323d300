"""Is a training on fractals a good start for other pictures?

A ResNet made by hand and a ShiftViT of the published blocks are trained on hard fractals, and from
these weights, with a fresh classifier, on few and on many other pictures, for equally many steps:
at the learning rate of a training from scratch, and at a quarter of it. A ResNet is trained on 300
pictures by the recipe of a design, too, for equal times: on them alone, or on fractals for a fifth
of the time. Seeds pair a training with the one from scratch.

Run from a checkout: ``python -m experiments.study_pretraining``.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asvit.executors import one_thread
from asvit.spaces import build
from asvit.training.short import draw_linear_weights, fit
from experiments.study import Study, cases, gains, mean_cell, pivot
from experiments.study_designs import ADAMW, made_by_hand, test, train_for
from experiments.tasks import AUGMENTATION, PICTURES, load_task, widest_published

FIRST, MACS, STEPS = "hard-fractals", 1_720_000, 1_400
FOLDER = Path("runs/pretraining")
FAMILIES = ("resnet", "shiftvit-parts")
#: Start -> the learning rate over that of a training from scratch.
STARTS: Mapping[str, float] = {"scratch": 1.0, "fractals": 1.0, "fractals, rate / 4": 0.25}
#: Pictures -> task, how many of them to train on, steps.
SETS: Mapping[str, tuple[str, int, int]] = {
    "digits, 200": ("digits", 200, 600),
    "digits, 600": ("digits", 600, 600),
    "drawn, 300": ("drawn-300", 300, 600),
    "drawn, 3000": ("drawn-3000", 3_000, 1_200),
}


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    family: str
    start: str
    seed: int
    accuracy: float  # of the test pictures, per cent


def _fresh(family: str, classes: int, seed: int) -> nn.Module:
    """A network as wide as the limit allows for 32 px, with weights drawn for any width."""
    text = widest_published(family, 32, 100, max_macs=MACS)
    torch.manual_seed(seed)
    network = build(text, 32, classes)
    draw_linear_weights(network)
    return network


@cache
def _trained(family: str, seed: int) -> Mapping[str, Tensor]:
    """Weights after a training on fractals."""
    task, parts = load_task(FIRST)
    network = _fresh(family, parts.classes, seed)
    fit(network, *parts, task.recipe(STEPS), seed=seed)
    return network.state_dict()


def train(pictures: str, family: str, start: str, seed: int) -> Mapping[str, object]:
    """The accuracy of a training on some pictures."""
    name, count, steps = SETS[pictures]
    task, parts = load_task(name)
    recipe = task.recipe(steps, batch_size=32, **{**AUGMENTATION, "flip": name != "digits"})
    recipe = replace(recipe, learning_rate=STARTS[start] * recipe.learning_rate)
    (images, labels), test = parts.train, parts.test
    with one_thread("cpu"), torch.random.fork_rng([]):
        network = _fresh(family, parts.classes, seed)
        if start != "scratch":
            own = network.state_dict()
            known = _trained(family, seed)
            alike = {key: known[key] for key in own if own[key].shape == known[key].shape}
            network.load_state_dict({**own, **alike})
        fitted = fit(network, (images[:count], labels[:count]), test, recipe, seed=seed)
    return {"accuracy": fitted.accuracy}


STUDY = Study(
    Row,
    Path(__file__).with_name("pretraining.csv"),
    cases(seed=range(4), family=FAMILIES, pictures=SETS, start=STARTS),
    train,
    repeat="seed",
)


# ---- Equal times

SECONDS, ON_FRACTALS = 240, 0.2  # of a training, and their share on fractals
FEW: Mapping[str, str] = {"drawn": "drawn-300", "textures": "textures", "digits": "digits"}


@dataclass(frozen=True)
class Timed:
    """One training of so many seconds on 300 pictures."""

    pictures: str
    start: str
    seed: int
    accuracy: float  # of the test pictures, per cent
    seconds: float


def train_timed(pictures: str, start: str, seed: int) -> Mapping[str, object]:
    """The accuracy of a ResNet that is trained on 300 pictures, from scratch or from fractals."""
    task, parts = load_task(FEW[pictures])
    load_task(FIRST)  # writes them
    text = made_by_hand("resnet", FEW[pictures], max_macs=10**7)
    folder = FOLDER / f"{pictures}-{start}-{seed}"
    few = _first(PICTURES / FEW[pictures] / "train", 300 // parts.classes, folder / "pictures")
    how: dict[str, Any] = {"image_size": task.side, "seed": seed, **ADAMW}
    began = time.monotonic()
    share = 1.0
    with one_thread("cpu"):
        if start != "scratch":
            share, before = 1 - ON_FRACTALS, folder / "fractals"
            many = PICTURES / FIRST / "train"
            whole = {"pictures": 8_000, "classes": 100}
            train_for(ON_FRACTALS * SECONDS, text, many, before, **whole, **how)
            how |= {"weights": str(before), "new_head": True}
        own = {"pictures": 300, "classes": parts.classes}
        train_for(share * SECONDS, text, few, folder / "trained", **own, **how)
        accuracy = test(folder / "trained", PICTURES / FEW[pictures] / "test")
    return {"accuracy": accuracy, "seconds": time.monotonic() - began}


def _first(pictures: Path, each: int, folder: Path) -> Path:
    """A folder with the first pictures of each class."""
    for kind in sorted(pictures.iterdir()):
        own = folder / kind.name
        own.mkdir(parents=True, exist_ok=True)
        for picture in sorted(kind.iterdir())[:each]:
            (own / picture.name).write_bytes(picture.read_bytes())
    return folder


TIMED = Study(
    Timed,
    Path(__file__).with_name("pretraining_timed.csv"),
    cases(seed=range(1, 4), pictures=FEW, start=("scratch", "fractals")),
    train_timed,
    repeat="seed",
)


def table() -> str:
    """Points that weights of fractals are ahead of a training from scratch, as Markdown.

    At a quarter of the learning rate they gain less in every column.
    """
    rows = [row for row in STUDY.rows() if STARTS[row.start] == 1]
    return gains(rows, "start", "scratch", lines=("family",), column="pictures")


def timed_table() -> str:
    """The same of a ResNet for equal times."""
    return gains(TIMED.rows(), "start", "scratch", lines=(), column="pictures")


if __name__ == "__main__":
    rows = STUDY.main(__doc__, TIMED)
    print(pivot(rows, ("family", "start"), "pictures", mean_cell))
    print(table())
    print(pivot(TIMED.rows(), ("start",), "pictures", mean_cell))
    print(timed_table())

"""Is a training on fractals a good start for other pictures?

A ResNet made by hand and a ShiftViT of the published blocks are trained on hard fractals, and from
these weights, with a fresh classifier, on few and on many other pictures, for equally many steps:
at the learning rate of a training from scratch, and at a quarter of it. Seeds pair a training with
the one from scratch.

Run from a checkout: ``python -m experiments.study_pretraining``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from asvit.executors import one_thread
from asvit.spaces import build
from asvit.training.short import draw_linear_weights, fit
from experiments.study import Study, cases, gains, mean_cell, pivot
from experiments.tasks import AUGMENTATION, load_task, widest_published

FIRST, MACS, STEPS = "hard-fractals", 1_720_000, 1_400
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


def table() -> str:
    """Points that weights of fractals are ahead of a training from scratch, as Markdown.

    At a quarter of the learning rate they gain less in every column.
    """
    rows = [row for row in STUDY.rows() if STARTS[row.start] == 1]
    return gains(rows, "start", "scratch", lines=("family",), column="pictures")


if __name__ == "__main__":
    print(pivot(STUDY.main(__doc__), ("family", "start"), "pictures", mean_cell))
    print(table())

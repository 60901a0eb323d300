"""Which initial weights narrow networks learn with: their authors', or ones drawn by width.

Networks as one would make them by hand, as wide as a limit of multiply-adds allows. Linear layers
alone by width is what trainings of searches and designs did at first; small convolutions as well
is what they do. Differences are paired by seed.

Run from a checkout: ``python -m experiments.compare_weights --jobs 2``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from asvit.models.layers.blocks import is_linear
from asvit.search.limits import Limits
from asvit.search.settings import TrainingSearchSettings
from asvit.spaces import build, load_space
from asvit.training.short import draw_linear_weights
from experiments.study import Study, cases, gains, mean_cell, pivot
from experiments.tasks import AUGMENTATION, fit_fresh, load_task

FAMILIES = ("shiftvit", "shiftvit-parts", "convnext", "swin", "deit")
MACS = 10_000_000


def _linear_alone(network: nn.Module) -> None:
    for module in network.modules():
        if is_linear(module):
            nn.init.xavier_uniform_(module.weight)


BASE, WHOLE = "own", "linear layers, small convolutions"
#: Name -> what draws weights anew.
WEIGHTS: Mapping[str, Callable[[nn.Module], None]] = {
    BASE: lambda _: None,
    "linear layers": _linear_alone,
    WHOLE: draw_linear_weights,
}
#: Pictures -> steps of a training, and augmentation.
SETS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "hard-fractals": (1_000, {}),
    "drawn-300": (1_500, AUGMENTATION),
    "textures": (1_500, AUGMENTATION),
}


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    family: str
    weights: str
    seed: int
    architecture: str
    accuracy: float  # of the test pictures, per cent


@cache
def widest(family: str, side: int, classes: int) -> str:
    """The text of the network made by hand, as wide as the limit allows."""
    space = load_space(family)
    limits = TrainingSearchSettings(
        trainings=1, space=family, image_size=side, classes=classes, max_macs=MACS
    )
    return str(Limits(space, limits).network(space.parse(space.by_hand[0])))


def train(pictures: str, family: str, weights: str, seed: int) -> Mapping[str, object]:
    """The accuracy of a network that starts with some weights."""
    task, images = load_task(pictures)
    text = widest(family, task.side, images.classes)
    steps, augmentation = SETS[pictures]
    recipe = task.recipe(steps, batch_size=32 if task.side > 32 else 64)

    def fresh() -> nn.Module:
        network = build(text, task.side, images.classes)
        WEIGHTS[weights](network)
        return network

    recipe = replace(recipe, **augmentation)
    accuracy = fit_fresh(fresh, images, recipe, seed=seed, by_width=False)
    return {"architecture": text, "accuracy": accuracy}


STUDY = Study(
    Row,
    Path(__file__).with_name("weights.csv"),
    cases(seed=range(6), pictures=SETS, family=FAMILIES, weights=WEIGHTS),
    train,
    repeat="seed",
)


def table() -> str:
    """Points more than with the weights of the authors, as Markdown."""
    return gains(STUDY.rows(), "weights", BASE, lines=("family",), column="pictures")


if __name__ == "__main__":
    print(pivot(STUDY.main(__doc__), ("family", "weights"), "pictures", mean_cell))
    print(table())

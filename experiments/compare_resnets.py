"""What pays in a residual network: its activation, and the width of its stem.

timm's ResNet-10-T and variants of it, each as wide as a limit of multiply-adds allows. Differences
are paired by seed.

Run from a checkout: ``python -m experiments.compare_resnets --jobs 2``.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from asvit.core.calls import call_text
from asvit.spaces import build
from asvit.spaces.timm_models import PREFIX
from asvit.training.short import Recipe
from experiments.study import Study, cases, gains, mean_cell, pivot
from experiments.tasks import AUGMENTATION, Task, fit_fresh, load_task
from proxies.counts import count

BASE = "by hand"
MACS = 10_000_000
#: Name -> activation, and width of the stem over that of the first stage (timm: half as wide).
NETWORKS: Mapping[str, tuple[str, float]] = {
    BASE: ("relu", 0.5),
    "silu": ("silu", 0.5),
    "wide stem": ("relu", 1),
    "silu, wide stem": ("silu", 1),
    "silu, wider stem": ("silu", 1.5),
    "gelu": ("gelu", 0.5),
}
#: Pictures -> steps of a training, and augmentation.
SETS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "textures": (1_500, AUGMENTATION),
    "drawn-300": (1_500, AUGMENTATION),
    "digits": (1_000, {}),
    "hard-fractals": (1_000, {}),
}


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    network: str
    seed: int
    architecture: str
    macs: int
    accuracy: float  # of the test pictures, per cent


@cache
def widest(network: str, side: int, classes: int) -> tuple[str, int]:
    """The text of the widest network within the limit, and its multiply-adds."""
    texts = (_text(network, width) for width in itertools.count(4))
    sizes = ((text, count(build(text, side, classes), side).macs) for text in texts)
    *_, last = itertools.takewhile(lambda size: size[1] <= MACS, sizes)
    return last


def _text(network: str, width: int) -> str:
    activation, ratio = NETWORKS[network]
    arguments: dict[str, Any] = {
        "act_layer": activation,
        "channels": tuple(width * 2**stage for stage in range(4)),
        "layers": (1, 1, 1, 1),
        "stem_width": width if ratio == 1 else max(4, int(ratio * width) // 4 * 4),
    }
    return PREFIX + call_text("resnet10t", arguments)


def recipe_for(pictures: str, task: Task) -> Recipe:
    """How networks are trained on a set of pictures."""
    steps, augmentation = SETS[pictures]
    return task.recipe(steps, **augmentation)


def train(pictures: str, network: str, seed: int) -> Mapping[str, object]:
    """The accuracy of a network."""
    task, images = load_task(pictures)
    text, macs = widest(network, task.side, images.classes)
    fresh = partial(build, text, task.side, images.classes)
    accuracy = fit_fresh(fresh, images, recipe_for(pictures, task), seed=seed, by_width=False)
    return {"architecture": text, "macs": macs, "accuracy": accuracy}


STUDY = Study(
    Row,
    Path(__file__).with_name("resnets.csv"),
    cases(seed=range(6), pictures=SETS, network=NETWORKS),
    train,
    repeat="seed",
)


def table() -> str:
    """Points more than the network that one would make by hand, as Markdown."""
    return gains(STUDY.rows(), "network", BASE, lines=(), column="pictures")


if __name__ == "__main__":
    print(pivot(STUDY.main(__doc__), ("network",), "pictures", mean_cell))
    print(table())

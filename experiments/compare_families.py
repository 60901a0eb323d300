"""How accurate are families of networks at equal limits?

Three random topologies of each, as wide as the limit allows, each trained once.

Run from a checkout: ``python -m experiments.compare_families --jobs 2``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asvit.architectures.parts import Parts
from asvit.executors import one_thread
from asvit.search.limits import _widest
from asvit.spaces import load_space
from asvit.training.short import draw_linear_weights, fit
from experiments.study import Study, cases, mean_cell, pivot
from experiments.tasks import load_task

PUBLISHED = Parts(init="width")
TOGETHER = Parts(stem="conv", head="linear", mixing="both", init="width")


def _asvit(parts: Parts) -> Callable[[np.random.Generator], Any]:
    return lambda rng: replace(load_space("asvit").sample(rng), parts=parts)


FAMILIES: Mapping[str, Callable[[np.random.Generator], Any]] = {
    "asvit with parts": _asvit(TOGETHER),
    **{
        name: load_space(name).sample
        for name in ("resnet", "shiftvit", "repvit", "convnext", "swin", "starnet", "deit")
    },
    "asvit": _asvit(PUBLISHED),
}
#: Pictures -> steps of a training, and limit of parameters or multiply-adds.
SETS: Mapping[str, tuple[int, int | None, int | None]] = {
    "drawn-300": (300, 1_500_000, None),
    "digits": (1_000, None, 1_720_000),
    "hard-fractals": (1_000, None, 1_720_000),
    "drawn-3000": (700, None, 10_000_000),
}


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    family: str
    topology: int
    architecture: str
    accuracy: float  # of the test pictures, per cent


def train(pictures: str, family: str, topology: int) -> Mapping[str, object]:
    """The accuracy of a topology of a family."""
    (steps, params, macs), (task, images) = SETS[pictures], load_task(pictures)
    drawn = FAMILIES[family](np.random.default_rng(topology))
    space = load_space(family.split()[0])
    chosen = _widest(drawn, task.side, images.classes, params, macs)
    with one_thread("cpu"), torch.random.fork_rng([]):
        torch.manual_seed(topology)
        network = space.build(chosen, image_size=task.side, num_classes=images.classes)
        draw_linear_weights(network)
        fitted = fit(network, *images, task.recipe(steps), seed=topology)
    return {"architecture": str(chosen), "accuracy": fitted.accuracy}


STUDY = Study(
    Row,
    Path(__file__).with_name("families.csv"),
    cases(pictures=SETS, topology=range(3), family=FAMILIES),
    train,
)

if __name__ == "__main__":
    rows = STUDY.main(__doc__)
    print(pivot(rows, ("family",), "pictures", mean_cell))

"""How many blocks narrow transformers should have: those of the published network, or fewer.

Networks as wide as a limit of multiply-adds allows, so those with fewer blocks are wider.
Differences are paired by seed.

Run from a checkout: ``python -m experiments.compare_depths --jobs 2``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from asvit.spaces import build
from experiments.compare_resnets import MACS, recipe_for
from experiments.study import Study, cases, gains, mean_cell, pivot
from experiments.tasks import fit_fresh, load_task, widest_by_hand

FAMILIES = ("shiftvit-parts", "swin")
BASE = "2,2,6,2"  # of the smallest published ShiftViT and Swin
DEPTHS = (BASE, "1,1,2,1", "1,1,1,1")
SETS = ("textures", "drawn-300", "digits", "hard-fractals")
#: Steps where those of other studies leave the published depths at chance.
_STEPS = {"textures": 2_500}


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    family: str
    depths: str
    seed: int
    architecture: str
    accuracy: float  # of the test pictures, per cent


def train(pictures: str, family: str, depths: str, seed: int) -> Mapping[str, object]:
    """The accuracy of a network with so many blocks in each stage."""
    task, images = load_task(pictures)
    blocks = tuple(map(int, depths.split(",")))
    text = widest_by_hand(family, task.side, images.classes, depths=blocks, max_macs=MACS)
    recipe = recipe_for(pictures, task)
    recipe = replace(recipe, steps=_STEPS.get(pictures, recipe.steps))
    fresh = partial(build, text, task.side, images.classes)
    return {"architecture": text, "accuracy": fit_fresh(fresh, images, recipe, seed=seed)}


STUDY = Study(
    Row,
    Path(__file__).with_name("depths.csv"),
    cases(seed=range(6), pictures=SETS, family=FAMILIES, depths=DEPTHS),
    train,
    repeat="seed",
)


def table() -> str:
    """Points more than with the published depths, as Markdown."""
    return gains(STUDY.rows(), "depths", BASE, lines=("family",), column="pictures")


if __name__ == "__main__":
    print(pivot(STUDY.main(__doc__), ("family", "depths"), "pictures", mean_cell))
    print(table())

"""How many blocks a narrow ShiftViT should have, and which stem of convolutions.

Networks as wide as a limit of multiply-adds allows, so those with fewer blocks are wider, and
those with a deep stem narrower. Differences are paired by seed.

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

FAMILY = "shiftvit-parts"
BASE = "2,2,6,2"  # of the smallest published ShiftViT
FEWER = "1,1,2,1"
DEPTHS = (BASE, FEWER, "1,1,1,1")
CONV, DEEP = "conv", "deep"
SETS = ("textures", "drawn-300", "digits", "hard-fractals")
#: Steps where those of other studies leave the published depths at chance.
_STEPS = {"textures": 2_500}


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    depths: str
    stem: str
    seed: int
    architecture: str
    accuracy: float  # of the test pictures, per cent


def train(pictures: str, depths: str, stem: str, seed: int) -> Mapping[str, object]:
    """The accuracy of a network with so many blocks in each stage, and a stem."""
    task, images = load_task(pictures)
    blocks = tuple(map(int, depths.split(",")))
    text = widest_by_hand(
        *(FAMILY, task.side, images.classes), depths=blocks, stem=stem, max_macs=MACS
    )
    recipe = recipe_for(pictures, task)
    recipe = replace(recipe, steps=_STEPS.get(pictures, recipe.steps))
    fresh = partial(build, text, task.side, images.classes)
    return {"architecture": text, "accuracy": fit_fresh(fresh, images, recipe, seed=seed)}


STUDY = Study(
    Row,
    Path(__file__).with_name("depths.csv"),
    [
        *cases(seed=range(6), pictures=SETS, depths=DEPTHS, stem=[CONV]),
        *cases(seed=range(6), pictures=SETS, depths=[FEWER], stem=[DEEP]),
    ],
    train,
    repeat="seed",
)


def table() -> str:
    """Points more than with the published depths, as Markdown."""
    rows = [row for row in STUDY.rows() if row.stem == CONV]
    return gains(rows, "depths", BASE, lines=(), column="pictures")


def stems() -> str:
    """Points that a deep stem gains where there are few blocks, as Markdown."""
    rows = [row for row in STUDY.rows() if row.depths == FEWER]
    return gains(rows, "stem", CONV, lines=(), column="pictures")


if __name__ == "__main__":
    print(pivot(STUDY.main(__doc__), ("depths", "stem"), "pictures", mean_cell))
    print(table())
    print(stems())

"""Which parts of an As-ViT pay: stem, head, local mixing, initial weights.

Six random topologies, each as wide as a limit allows with its parts, are trained on three sets of
pictures: with the parts of the published network but weights drawn by width, with each other part
alone, and with each beside a convolutional stem and a linear head. Differences are paired by
topology. The file also has rows of parts that did not pay and are no choice any more: position
biases, mimetic initialisation, LayerScale, mixing before the attention, a layer norm in the stem.

Run from a checkout: ``python -m experiments.compare_parts --jobs 2``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from asvit.architectures.genotype import Genotype
from asvit.models.asvit import AsViT
from asvit.spaces import load_space
from asvit.spaces.architectures import with_parts
from experiments.study import (
    Study,
    cases,
    gain_cell,
    gains,
    grouped,
    mean_cell,
    pivot,
    share_cells,
)
from experiments.tables import markdown
from experiments.tasks import AUGMENTATION, fit_fresh, limits_of, load_task
from experiments.variance import variance_components

BASE, TOGETHER = "published", "conv, linear"
_ALONE = {"init": "width"}  # the published parts, with weights that a narrow network can train
_WITH = {**_ALONE, "stem": "conv", "head": "linear"}
_CHANGES = (("mixing", "ffn"), ("init", "0.02"))
_DEEP = "stem=deep"  # in place of that stem
#: Name -> parts: those changed alone, and those changed where stem and head are others already.
PARTS: Mapping[str, Mapping[str, str]] = {
    BASE: _ALONE,
    TOGETHER: _WITH,
    "stem=conv": {**_ALONE, "stem": "conv"},
    "head=linear": {**_ALONE, "head": "linear"},
    f"{TOGETHER}, {_DEEP}": {**_WITH, "stem": "deep"},
    **{f"{TOGETHER}, {part}={to}": {**_WITH, part: to} for part, to in _CHANGES},
    **{f"{part}={to}": {**_ALONE, part: to} for part, to in _CHANGES},
}
TOPOLOGIES = 6
#: Pictures -> steps of a training, limit of multiply-adds, and augmentation.
SETS: Mapping[str, tuple[int, int, Mapping[str, Any]]] = {
    "hard-fractals": (1_000, 1_720_000, {}),
    "digits": (1_000, 1_720_000, {}),
    # Without it, so few pictures are learnt by heart.
    "drawn-300": (800, 10_000_000, AUGMENTATION),
}


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    parts: str
    topology: int
    architecture: str
    accuracy: float  # of the test pictures, per cent


@cache
def topologies() -> list[Genotype]:
    """The random topologies, of one block in each stage."""
    rng = np.random.default_rng(7)
    return [load_space("asvit").sample(rng) for _ in range(TOPOLOGIES)]


def train(pictures: str, parts: str, topology: int) -> Mapping[str, object]:
    """The accuracy of a topology made of some parts."""
    (steps, most, augmentation), (task, images) = SETS[pictures], load_task(pictures)
    wanted = with_parts(topologies()[topology], PARTS[parts])
    limits = limits_of("asvit-parts", task.side, images.classes, max_macs=most)
    chosen = limits.network(wanted)
    recipe = task.recipe(steps, **augmentation)
    fresh = partial(AsViT, chosen, img_size=task.side, num_classes=images.classes)
    accuracy = fit_fresh(fresh, images, recipe, seed=topology, by_width=False)
    return {"architecture": str(chosen), "accuracy": accuracy}


STUDY = Study(
    Row,
    Path(__file__).with_name("parts.csv"),
    cases(topology=range(TOPOLOGIES), pictures=SETS, parts=PARTS),
    train,
)


def table() -> str:
    """Points that stem and head gain, and what other parts add to both, as Markdown."""
    rows = STUDY.rows()
    known = grouped(rows, ("parts", "pictures"))

    def cell(name: str, base: str, pictures: str) -> str:
        own, others = (known.get((parts, pictures), []) for parts in (name, base))
        return gain_cell(own, others, pair=("topology",))

    pairs = [(name, BASE) for name in (TOGETHER, "stem=conv", "head=linear")]
    changed = [_DEEP, *(f"{part}={to}" for part, to in _CHANGES)]
    pairs += [(f"{TOGETHER}, {change}", TOGETHER) for change in changed]
    lines = [
        (
            f"{'' if base == BASE else '… and '}{name.removeprefix(f'{TOGETHER}, ')}",
            *(cell(name, base, pictures) for pictures in SETS),
        )
        for name, base in pairs
    ]
    count = len({row.topology for row in rows})
    return markdown({f"parts, {count} topologies": "l", **dict.fromkeys(SETS, "r")}, lines)


def shares(rows: Sequence[Row]) -> list[str]:
    """Cells of the shares of variance of parts, topologies, and the rest."""
    causes = {
        "parts": [row.parts for row in rows],
        "topology": [str(row.topology) for row in rows],
    }
    return share_cells(variance_components([row.accuracy for row in rows], causes))


if __name__ == "__main__":
    rows = STUDY.main(__doc__)
    print(pivot(rows, ("parts",), "pictures", mean_cell))
    print(table())
    for base in (BASE, TOGETHER):
        print(gains(rows, "parts", base, lines=(), column="pictures", pair=("topology",)))

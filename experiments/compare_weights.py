"""Which initial weights a narrow ShiftViT learns with: its authors', or ones drawn by width.

It has the published numbers of blocks and is as wide as a limit of multiply-adds allows. Linear
layers alone by width is what trainings of searches and designs did at first; small convolutions as
well is what they do. Blocks that add nothing at first, as their last layers are 0, are tried, too
(after arXiv 1901.09321). Differences are paired by seed.

Run from a checkout: ``python -m experiments.compare_weights --jobs 2``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from asvit.models.blocks import is_linear
from asvit.models.shiftvit import ShiftBlock
from asvit.spaces import build
from asvit.training.short import draw_linear_weights
from experiments.compare_resnets import MACS, recipe_for
from experiments.study import Study, cases, gains, mean_cell, pivot
from experiments.tasks import fit_fresh, load_task, widest_published

FAMILY = "shiftvit-parts"


def _linear_alone(network: nn.Module) -> None:
    for module in network.modules():
        if is_linear(module):
            nn.init.xavier_uniform_(module.weight)


def _with_empty_branches(network: nn.Module) -> None:
    draw_linear_weights(network)
    for module in network.modules():
        if isinstance(module, ShiftBlock):
            nn.init.zeros_(module.mlp.fc2.weight)


BASE, WHOLE, EMPTY = "own", "linear layers, small convolutions", "these, empty branches"
#: Name -> what draws weights anew.
WEIGHTS: Mapping[str, Callable[[nn.Module], None]] = {
    BASE: lambda _: None,
    "linear layers": _linear_alone,
    WHOLE: draw_linear_weights,
    EMPTY: _with_empty_branches,
}
SETS = ("hard-fractals", "drawn-300", "textures")


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    weights: str
    seed: int
    architecture: str
    accuracy: float  # of the test pictures, per cent


def train(pictures: str, weights: str, seed: int) -> Mapping[str, object]:
    """The accuracy of a network that starts with some weights."""
    task, images = load_task(pictures)
    text = widest_published(FAMILY, task.side, images.classes, max_macs=MACS)

    def fresh() -> nn.Module:
        network = build(text, task.side, images.classes)
        WEIGHTS[weights](network)
        return network

    accuracy = fit_fresh(fresh, images, recipe_for(pictures, task), seed=seed, by_width=False)
    return {"architecture": text, "accuracy": accuracy}


STUDY = Study(
    Row,
    Path(__file__).with_name("weights.csv"),
    cases(seed=range(6), pictures=SETS, weights=WEIGHTS),
    train,
    repeat="seed",
)


def table() -> str:
    """Points more than with the weights of the authors, as Markdown."""
    return gains(STUDY.rows(), "weights", BASE, lines=(), column="pictures")


if __name__ == "__main__":
    print(pivot(STUDY.main(__doc__), ("weights",), "pictures", mean_cell))
    print(table())

"""Does Muon train networks better than AdamW, in equal time?

A ResNet and a ShiftViT with the parts that pay, as wide as 10 M multiply-adds allow, trained for
equal times on one core by the recipe of a design: with Muon at the weight decay of designs and at
a tenth of it, and with AdamW at the rate that designs had before, and at twice that.

Run from a checkout: ``python -m experiments.compare_optimizers``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvit.executors import one_thread
from experiments.study import Study, cases, gains, mean_cell, pivot
from experiments.study_designs import ADAMW, LIMITS, SETS, made_by_hand, train_on_all

MINUTES = 4
FAMILIES = ("resnet-parts", "shiftvit-parts")
_MUON = {"optimizer": "muon", "learning_rate": 6e-3, "weight_decay": 0.05}
OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "adamw": ADAMW,
    "adamw, twice the rate": {**ADAMW, "learning_rate": 4e-3},
    "adamw, decay 0.5": {**ADAMW, "weight_decay": 0.5},
    "muon": _MUON,
    "muon, decay 0.5": {**_MUON, "weight_decay": 0.5},
}
FOLDER = Path("runs/optimizers")


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    family: str
    optimizer: str
    seed: int
    architecture: str
    epochs: int
    accuracy: float  # of the test pictures, per cent


def train(pictures: str, family: str, optimizer: str, seed: int) -> Mapping[str, object]:
    """The accuracy of a network that an optimiser has trained for a few minutes."""
    text = made_by_hand(family, pictures, **LIMITS["10 M multiply-adds"])
    folder = FOLDER / f"{pictures}-{family}-{optimizer}-{seed}".replace(" ", "-")
    recipe = OPTIMIZERS[optimizer]
    with one_thread("cpu"):
        trained, accuracy = train_on_all(pictures, text, 60 * MINUTES, folder, seed, **recipe)
    return {"architecture": text, "epochs": len(trained.history), "accuracy": accuracy}


STUDY = Study(
    Row,
    Path(__file__).with_name("optimizers.csv"),
    cases(seed=range(3), pictures=SETS, family=FAMILIES, optimizer=OPTIMIZERS),
    train,
    repeat="seed",
)


def table() -> str:
    """Points more than with AdamW at the rate that designs had, as Markdown."""
    return gains(STUDY.rows(), "optimizer", "adamw", lines=("family",), column="pictures")


if __name__ == "__main__":
    print(pivot(STUDY.main(__doc__), ("family", "optimizer"), "pictures", mean_cell))
    print(table())

"""At which size should images be seen, where the multiply-adds of a network are limited?

The network of a family as wide as 10 M multiply-adds allow for images of different sizes, each
trained by the recipe of a design for equal times on one core. Smaller images leave a wider network
less to see.

Run from a checkout: ``python -m experiments.study_sides``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asvit.executors import one_thread
from experiments.study import Study, cases, pivot
from experiments.study_designs import made_by_hand, train_on_all, updates_of

FAMILY, LIMIT = "resnet-parts", 10_000_000  # multiply-adds
SECONDS = (30, 240, 900)
SETS = ("large-drawn-300", "large-drawn-3000", "large-textures-300", "large-textures")
SIDES = (192, 128, 96, 64, 48)  # pixels
FOLDER = Path("runs/sides")


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    seconds: int  # of the training
    side: int  # of the images, in pixels
    seed: int
    architecture: str
    params: int
    updates: int
    accuracy: float  # of the test pictures, per cent


def train(pictures: str, seconds: int, side: int, seed: int) -> Mapping[str, object]:
    """The accuracy of the network for images of a size, after so many seconds."""
    text = made_by_hand(FAMILY, pictures, side=side, max_macs=LIMIT)
    folder = FOLDER / f"{pictures}-{seconds}-{side}-{seed}"
    with one_thread("cpu"):
        trained, accuracy = train_on_all(pictures, text, seconds, folder, seed, side=side)
    return {
        "architecture": text,
        "params": trained.params,
        "updates": updates_of(trained, pictures),
        "accuracy": accuracy,
    }


STUDY = Study(
    Row,
    Path(__file__).with_name("sides.csv"),
    cases(seed=range(2), seconds=SECONDS, pictures=SETS, side=SIDES),
    train,
    repeat="seed",
)


def table() -> str:
    """Accuracies by the size of images, as Markdown."""
    return pivot(STUDY.rows(), ("seconds", "pictures"), "side", _cell)


def _cell(rows: Sequence[Row]) -> str:
    return ", ".join(f"{row.accuracy:.1f}" for row in rows)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())

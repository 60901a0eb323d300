"""At which size should images be seen, where the multiply-adds of a network are limited?

The network of a family as wide as 10 M multiply-adds allow for images of different sizes, each
trained by the recipe of a design for equal times on one core; and a design, which chooses the
size. Smaller images leave a wider network less to see.

Run from a checkout: ``python -m experiments.study_sides``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asvit.executors import one_thread
from experiments.study import Study, cases, pivot
from experiments.study_designs import (
    ADAMW,
    made_by_hand,
    run_design,
    train_on_all,
    updates_of,
)
from experiments.tasks import load_task

FAMILY, LIMIT = "resnet-parts", 10_000_000  # multiply-adds
SECONDS = (30, 240, 900)
SETS = ("large-drawn-300", "large-drawn-3000", "large-textures-300", "large-textures")
DESIGN = "design"
IMAGES = (*(f"{side} px" for side in (192, 128, 96, 64, 48)), DESIGN)
FOLDER = Path("runs/sides")


@dataclass(frozen=True)
class Row:
    """One training, or a design."""

    pictures: str
    seconds: int  # of the training, or of all that the design does
    images: str  # their size, or "design", which chooses it
    seed: int
    side: int  # of the images, in pixels
    architecture: str
    params: int
    updates: int  # of a design, those after its last round
    accuracy: float  # of the test pictures, per cent


def train(pictures: str, seconds: int, images: str, seed: int) -> Mapping[str, object]:
    """The accuracy of the network for images of a size, or of a design, in so many seconds."""
    folder = FOLDER / f"{pictures}-{seconds}-{images}-{seed}".replace(" ", "-")
    load_task(pictures)  # writes them
    with one_thread("cpu"):
        if images == DESIGN:
            design = run_design(pictures, seconds / 3600, folder, seed, max_macs=LIMIT)
            side, text, params = design.image_size, design.architecture, design.params
            epochs, accuracy = design.epochs, design.accuracy
        else:
            side = int(images.partition(" ")[0])
            text = made_by_hand(FAMILY, pictures, side=side, max_macs=LIMIT)
            trained, accuracy = train_on_all(
                pictures, text, seconds, folder, seed, side=side, **ADAMW
            )
            params, epochs = trained.params, len(trained.history)
    return {
        "side": side,
        "architecture": text,
        "params": params,
        "updates": updates_of(epochs, pictures),
        "accuracy": accuracy,
    }


STUDY = Study(
    Row,
    Path(__file__).with_name("sides.csv"),
    cases(seed=range(2), seconds=SECONDS, pictures=SETS, images=IMAGES),
    train,
    repeat="seed",
)


def table() -> str:
    """Accuracies by the size of images, as Markdown."""
    return pivot(STUDY.rows(), ("seconds", "pictures"), "images", _cell)


def _cell(rows: Sequence[Row]) -> str:
    return ", ".join(f"{row.accuracy:.1f}" for row in rows)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())

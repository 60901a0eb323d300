"""How large should a network be where the time to train it is short?

The network of a family as wide as a limit of parameters allows, and narrower ones with a share of
its multiply-adds, each trained by the recipe of a design for equal times on one core, with either
optimiser. A narrower one has more updates.

Run from a checkout: ``python -m experiments.study_sizes``.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asvit.executors import one_thread
from asvit.spaces import cost
from experiments.compare_optimizers import OPTIMIZERS
from experiments.study import Study, cases, pivot
from experiments.study_designs import made_by_hand, train_on_all, updates_of
from experiments.tasks import load_task

FAMILY, LIMIT = "resnet-parts", 1_500_000  # parameters
MINUTES = (4, 15)
SETS = ("drawn-300", "drawn-3000", "textures", "hard-fractals")
SHARES = (1.0, 0.5, 0.25, 0.12)  # of the multiply-adds
FOLDER = Path("runs/sizes")


@dataclass(frozen=True)
class Row:
    """One training."""

    pictures: str
    minutes: int  # of the training
    share: float  # of the multiply-adds
    optimizer: str
    seed: int
    architecture: str
    macs: int
    updates: int
    accuracy: float  # of the test pictures, per cent


def train(
    pictures: str, minutes: int, share: float, optimizer: str, seed: int
) -> Mapping[str, object]:
    """The accuracy of a network with a share of the multiply-adds, after so many minutes."""
    task, images = load_task(pictures)
    text = made_by_hand(FAMILY, pictures, max_params=LIMIT)
    if share < 1:
        most = round(share * cost(text, task.side, images.classes).macs)
        text = made_by_hand(FAMILY, pictures, max_params=LIMIT, max_macs=most)
    folder = FOLDER / f"{pictures}-{minutes}-{share:g}-{optimizer}-{seed}"
    recipe = OPTIMIZERS[optimizer]
    with one_thread("cpu"):
        trained, accuracy = train_on_all(pictures, text, 60 * minutes, folder, seed, **recipe)
    return {
        "architecture": text,
        "macs": trained.macs,
        "updates": updates_of(len(trained.history), pictures),
        "accuracy": accuracy,
    }


STUDY = Study(
    Row,
    Path(__file__).with_name("sizes.csv"),
    cases(
        seed=range(2), optimizer=("muon", "adamw"), minutes=MINUTES, pictures=SETS, share=SHARES
    ),
    train,
    repeat="seed",
)


def table() -> str:
    """Accuracies, and updates for each million multiply-adds in brackets, as Markdown."""
    return pivot(STUDY.rows(), ("optimizer", "minutes", "share"), "pictures", _cell)


def _cell(rows: Sequence[Row]) -> str:
    accuracies = [f"{row.accuracy:.1f}" for row in rows]
    pace = statistics.fmean(row.updates / (row.macs / 1e6) for row in rows)
    return f"{', '.join(accuracies)} ({pace:,.0f})"


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())

"""Does coarse-to-fine re-tokenization reach the accuracy of plain training at lower cost?

For each seed and on the same images the network is trained plainly and with coarse tokens first,
for as many epochs, then plainly for the epochs that cost as many multiply-adds as the re-tokenized
training.

Run from a checkout: ``python -m experiments.compare_retokenization``. Trainings are run folders,
so a stopped one continues.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from asvit.models.retokenization import Tokens
from asvit.runs.training import run_training
from asvit.training.result import TrainResult
from experiments.kinds import accuracy_cells
from experiments.study import Case, Study, cases, grouped
from experiments.tables import markdown
from experiments.tasks import SEED

OUT = Path("runs/compare-retokenization")
PLAIN, COARSE, SHORT = "plain", "re-tokenized", "plain, same multiply-adds"
EPOCHS = 60
#: Of the recipe before it had Muon; of only a few thousand updates, so the learning rate is high.
SETTINGS: Mapping[str, Any] = {
    "recipe": "small",
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "drop_path": 0.0,
    "data": "fractal:10",
    "train_images": 2000,
    "validation_images": 500,
    "image_size": 64,
    "batch_size": 50,
}


@dataclass(frozen=True)
class Row:
    """A training: its accuracy, and its cost relative to the plain one of the seed."""

    training: str
    seed: int
    epochs: int
    accuracy: float
    macs: float
    seconds: float


@cache
def trained(training: str, seed: int) -> TrainResult:
    """The training; its tokens are coarse for 40 % and 30 % of the epochs if re-tokenized."""
    epochs = EPOCHS
    if training == SHORT:
        share = macs(trained(COARSE, seed)) / macs(trained(PLAIN, seed))
        epochs = max(1, round(EPOCHS * share))
    coarse = [round(share * epochs) for share in (0.4, 0.3)]
    stages = "/".join(map(str, [*coarse, epochs - sum(coarse)])) if training == COARSE else "off"
    out = OUT / f"{training.replace(', ', '-').replace(' ', '-')}-seed{seed}"
    varied: dict[str, Any] = {"epochs": epochs, "retokenize": stages, "seed": seed}
    return run_training(SEED, out=out, workers=0, **SETTINGS, **varied)


def macs(result: TrainResult) -> float:
    """Multiply-adds of the training, in epochs at full resolution."""
    shares = {str(Tokens(s["stride"], s["dilation"])): s["fraction"] for s in result.stages}
    return math.fsum(shares.get(row.tokens, 1.0) for row in result.history)


def seconds(result: TrainResult) -> float:
    """Wall-clock time of the training per image, without validation."""
    return sum(1 / row.images_per_second for row in result.history)


def compare(training: str, seed: int) -> Case:
    """A training beside the plain one."""
    result, plain = trained(training, seed), trained(PLAIN, seed)
    return {
        "epochs": len(result.history),
        "accuracy": round(result.last.top1, 2),
        "macs": round(macs(result) / macs(plain), 4),
        "seconds": round(seconds(result) / seconds(plain), 4),
    }


TABLE = Path(__file__).with_name("retokenization.csv")
STUDY = Study(Row, TABLE, cases(seed=range(3), training=(PLAIN, COARSE, SHORT)), compare)


def table() -> str:
    """A line for each training, in the mean over the seeds."""
    lines: list[Sequence[object]] = [
        (
            *(training, rows[0].epochs, *accuracy_cells([row.accuracy for row in rows])),
            *(f"{fmean(row.macs for row in rows):.1%}", f"{fmean(r.seconds for r in rows):.1%}"),
        )
        for (training,), rows in grouped(STUDY.rows(), ["training"]).items()
    ]
    columns = {"training": "l", "epochs": "r", "final top-1 by seed": "l", "mean": "r"}
    return markdown({**columns, "multiply-adds": "r", "training time": "r"}, lines)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())

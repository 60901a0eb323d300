"""Fashion-MNIST within a million parameters: designs, and networks made by hand, for equal times.

The pictures are those of Debian's package dataset-fashion-mnist. Each training has one core and
all 60,000 pictures to train on, and looks once at the 10,000 to test on. Networks of
``experiments.by_hand`` are trained by recipes of their own; those of families of ours as wide as
the limit allows, by the recipe of a design.

Run from a checkout: ``python -m experiments.study_fashion``, on a core that does nothing else.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import asvit
from asvit.data.base import LabelledImages
from asvit.data.sources import open_parts
from asvit.designs.recipe import strength_for
from asvit.executors import one_thread
from asvit.measuring.timing import processor
from experiments.by_hand import BY_HAND, CLASSES, Pictures, accuracy, train
from experiments.study import Study, cases, mean_cell, pivot
from experiments.study_designs import train_for
from experiments.tasks import widest_by_hand

DATA = Path("/usr/share/datasets/fashion-mnist")
FOLDER = Path("runs/fashion")
MOST = 1_000_000  # parameters
#: Minutes of a training -> seeds.
LENGTHS = {15: range(5), 60: range(3), 480: range(1)}
DESIGNS: Mapping[str, Mapping[str, Any]] = {
    "design": {},
    "design of transformers": {"space": "shiftvit-parts,asvit-parts,swin,deit"},
}
FAMILIES = "resnet-parts", "shiftvit", "shiftvit-parts", "asvit", "asvit-parts"


@dataclass(frozen=True)
class Row:
    """A design or a training."""

    minutes: int
    network: str
    seed: int
    architecture: str
    params: int
    epochs: float
    accuracy: float  # of the test pictures, per cent
    seconds: float  # in all, with the test
    processor: str  # name and instructions


def compare(minutes: int, network: str, seed: int) -> Mapping[str, object]:
    """What a design or a network made by hand comes to."""
    began = time.monotonic()
    ways = {**dict.fromkeys(DESIGNS, _design), **dict.fromkeys(BY_HAND, _by_hand)}
    with one_thread("cpu"):
        values = ways.get(network, _family)(minutes, network, seed)
    seconds = round(time.monotonic() - began)
    kind = f"{processor()}, {torch.backends.cpu.get_cpu_capability()}"
    return {**values, "seconds": seconds, "processor": kind}


def _design(minutes: int, network: str, seed: int) -> Mapping[str, object]:
    options: dict[str, Any] = {"hours": minutes / 60, "seed": seed, **DESIGNS[network]}
    folder = _folder(minutes, network, seed)
    result = asvit.design(DATA, max_params=MOST, out=folder, device="cpu", **options)
    names = "architecture", "params", "epochs", "accuracy"
    return {name: getattr(result, name) for name in names}


def _family(minutes: int, network: str, seed: int) -> Mapping[str, object]:
    text = widest_by_hand(network, 32, CLASSES, max_params=MOST)
    folder = _folder(minutes, network, seed)
    few = strength_for(1, 32)  # none of these has sixty epochs
    options = {"image_size": 32, "seed": seed, **few}
    trained = train_for(
        60 * minutes, text, DATA, folder, pictures=60_000, classes=CLASSES, **options
    )
    return {
        "architecture": text,
        "params": trained.params,
        "epochs": trained.last.epoch,
        "accuracy": asvit.test(DATA, weights=folder, device="cpu").accuracy,
    }


def _by_hand(minutes: int, network: str, seed: int) -> Mapping[str, object]:
    make, recipe = BY_HAND[network]
    parts = {name: _in_memory(images) for name, images in open_parts(str(DATA)).items()}
    torch.manual_seed(seed)
    fresh = make()
    epochs = train(fresh, recipe, parts["train"], 60 * minutes)
    return {
        "architecture": network,
        "params": sum(parameter.numel() for parameter in fresh.parameters()),
        "epochs": round(epochs, 1),
        "accuracy": accuracy(fresh, parts["test"]),
    }


def _in_memory(images: LabelledImages) -> Pictures:
    pixels = np.stack([np.asarray(images.content(index)) for index in range(len(images))])
    return Pictures(torch.from_numpy(pixels), torch.from_numpy(images.labels))


def _folder(minutes: int, network: str, seed: int) -> Path:
    return FOLDER / f"{minutes}-{network}-{seed}".replace(" ", "-")


STUDY = Study(
    Row,
    Path(__file__).with_name("fashion.csv"),
    [
        case
        for minutes, seeds in LENGTHS.items()
        for case in cases(minutes=[minutes], seed=seeds, network=(*DESIGNS, *BY_HAND, *FAMILIES))
    ],
    compare,
)


def table() -> str:
    """The accuracies of each length, as Markdown."""
    return pivot(STUDY.rows(), ("network",), "minutes", mean_cell)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())

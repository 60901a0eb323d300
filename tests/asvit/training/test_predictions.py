"""What a network takes images for, against what it was made to answer."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from asvit.core.answers import Confusion
from asvit.data import LabelledImages
from asvit.training.distributed import ProcessGroup
from asvit.training.metrics import (
    Predictions,
    predict,
    predictions_of,
    read_predictions,
)

CLASSES = ("ape", "bee", "cat")
LABELS = np.array([0, 1, 2, 1, 1, 0])
LOGITS = torch.tensor(
    [[2.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 2, 0], [9, 0, 0], [0, 0, 5]]
)  # the second, third, fifth and sixth are wrong


class Pictures(LabelledImages):
    def picture(self, index: int) -> Image.Image:
        if index == 4:
            raise ValueError("unreadable")
        return Image.new("RGB", (300, 200), (index, 0, 0))


IMAGES = Pictures("six", CLASSES, LABELS)


def batches(rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    for own in np.array_split(np.arange(rank, 6, world), 2):
        yield LOGITS[own], torch.from_numpy(LABELS[own])


def predictions(right: int = 0) -> Predictions:
    answers = predict(nn.Identity(), batches(), IMAGES, ProcessGroup("cpu"))
    return predictions_of(CLASSES, answers, IMAGES.picture, right=right)


def test_pairs_and_mistakes_are_those_of_the_logits(tmp_path: Path) -> None:
    found = predictions(right=1)
    assert found.confusion == (
        Confusion("bee", "ape", 2, 100 * 2 / 3), Confusion("ape", "ape", 1, 50.0),
        Confusion("ape", "cat", 1, 50.0), Confusion("bee", "bee", 1, 100 / 3),
        Confusion("cat", "bee", 1, 100.0),
    )  # fmt: skip
    # The fifth has the highest loss; it could not be read, so that another took its place.
    assert [one.name for one in found.mistakes] == ["image 5", "image 1", "image 2"]
    worst = found.mistakes[0]
    share = LOGITS[5].softmax(0)
    assert (worst.label, worst.predicted) == ("ape", "cat")
    assert worst.confidence == pytest.approx(100 * float(share[2]), abs=0.01)
    assert worst.loss == pytest.approx(-float(share[0].log()), abs=1e-3)
    assert Image.open(io.BytesIO(base64.b64decode(worst.picture))).size == (96, 64)
    assert [one.name for one in found.right] == ["image 0"]  # as uncertain as the other one
    found.write(tmp_path / "predictions.json")
    assert read_predictions(tmp_path / "predictions.json") == found
    assert read_predictions(tmp_path / "none.json") is None


class Several:
    """A process of two; the first knows the share of the other."""

    world = 2
    device = torch.device("cpu")

    def __init__(self, rank: int) -> None:
        self.first = rank == 0
        self.shares: list[object] = []

    def gather(self, value: object) -> list[object]:
        self.shares = [value, value]
        if self.first:
            other = Several(1)
            predict(nn.Identity(), batches(1, 2), IMAGES, other)
            self.shares[1] = other.shares[1]
        return self.shares


def test_processes_put_their_shares_together() -> None:
    one = predict(nn.Identity(), batches(), IMAGES, ProcessGroup("cpu"))
    several = predict(nn.Identity(), batches(0, 2), IMAGES, Several(0))
    assert several == one

"""Accuracy on labelled images over one or more processes, and the metrics files."""

import csv
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asvit.core.codec import from_json, to_json
from asvit.training.distributed import ProcessGroup
from asvit.training.metrics import (
    Accuracy,
    EpochRow,
    evaluate,
    read_metrics,
    write_metrics,
)

ROW = EpochRow(1, "", 1e-3, 2.0, 1.5, 50.0, 90.0, 300.0, 4.5)


class Given(nn.Module):
    """Returns its images as logits."""

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        return images.flatten(1)


def measured(logits: Tensor, labels: Tensor, size: int, classes: int | None = None) -> Accuracy:
    images = logits[:, :, None, None]
    once = zip(images.split(size), labels.split(size), strict=True)  # can be consumed only once
    return evaluate(Given(), once, ProcessGroup("cpu"), classes=classes)


def test_counted_by_hand() -> None:
    # Of class 0 the largest, the second and the sixth of six; of class 5 the fifth.
    logits = torch.tensor([
        [9.0, 1, 2, 3, 4, 5],
        [8.0, 9, 2, 3, 4, 5],
        [0.0, 1, 2, 3, 4, 5],
        [9.0, 8, 7, 6, 1, 2],
    ])  # fmt: skip
    labels = torch.tensor([0, 0, 0, 5])
    values = measured(logits, labels, 3)
    loss = sum(
        math.log(sum(math.exp(x) for x in row)) - row[label]
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    )
    assert (values.top1, values.top5) == (25.0, 75.0)
    assert values.loss == pytest.approx(loss / 4, rel=1e-6)


@pytest.mark.parametrize("size", [1, 5, 40])
def test_balanced_accuracy_is_the_mean_over_classes(size: int) -> None:
    logits, labels = torch.randn(40, 5), torch.randint(4, (40,))  # one class has no images
    taken = logits.argmax(1)
    shares = [float((taken[labels == c] == c).double().mean()) for c in labels.unique()]
    found = measured(logits, labels, size, classes=5).balanced
    assert found == pytest.approx(100 * sum(shares) / len(shares))
    assert measured(logits, labels, size).balanced is None


def test_rewritten_files_list_every_epoch_once(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, epoch=2, tokens="(4,1)", top1=60.0, balanced=61.0)]
    for some in (rows[:1], rows, rows):
        write_metrics(tmp_path, some)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == tuple(one.name for one in fields(EpochRow))
    assert [row["epoch"] for row in table] == ["1", "2"]
    assert table[1]["tokens"] == "(4,1)"
    assert (table[0]["balanced"], table[1]["balanced"]) == ("", "61.0")
    assert read_metrics(tmp_path / "metrics.csv") == rows
    lost = from_json(to_json(replace(ROW, loss=math.inf)), EpochRow)
    assert math.isnan(lost.loss)

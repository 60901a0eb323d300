"""Accuracy on labelled images over one or more processes, and the metrics files."""

import csv
import json
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
    write_metrics,
)

ROW = EpochRow(1, "", 1e-3, 2.0, 1.5, 50.0, 90.0, None, None, None, 300.0, 4.5)


class Given(nn.Module):
    """Returns its images as logits."""

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        return images.flatten(1)


class Reversed(Given):
    """Reverses the order of the classes."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).flip(1)


def measured(
    logits: Tensor, labels: Tensor, size: int, *networks: nn.Module, classes: int | None = None
) -> list[Accuracy]:
    images = logits[:, :, None, None]
    once = zip(images.split(size), labels.split(size), strict=True)  # can be consumed only once
    return evaluate(networks or [Given()], once, ProcessGroup("cpu"), classes=classes)


def test_counted_by_hand() -> None:
    # Of class 0 the largest, the second and the sixth of six; of class 5 the fifth.
    logits = torch.tensor([
        [9.0, 1, 2, 3, 4, 5],
        [8.0, 9, 2, 3, 4, 5],
        [0.0, 1, 2, 3, 4, 5],
        [9.0, 8, 7, 6, 1, 2],
    ])  # fmt: skip
    labels = torch.tensor([0, 0, 0, 5])
    (values,) = measured(logits, labels, 3)
    loss = sum(
        math.log(sum(math.exp(x) for x in row)) - row[label]
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    )
    assert (values.top1, values.top5) == (25.0, 75.0)
    assert values.loss == pytest.approx(loss / 4, rel=1e-6)


def test_of_equal_logits_the_first_class_counts() -> None:
    """As in balanced accuracy and in the answers of a training."""
    (values,) = measured(torch.zeros(4, 10), torch.tensor([0, 0, 4, 5]), 3, classes=10)
    assert (values.top1, values.top5) == (50.0, 75.0)
    assert values.balanced == pytest.approx(100 / 3)


@pytest.mark.parametrize("size", [1, 5, 40])
def test_balanced_accuracy_is_the_mean_over_classes(size: int) -> None:
    logits, labels = torch.randn(40, 5), torch.randint(4, (40,))  # one class has no images
    networks = Given(), Reversed()
    found = measured(logits, labels, size, *networks, classes=5)
    for one, taken in zip(found, (logits.argmax(1), 4 - logits.argmax(1)), strict=True):
        shares = [float((taken[labels == c] == c).double().mean()) for c in labels.unique()]
        assert one.balanced == pytest.approx(100 * sum(shares) / len(shares))
    assert [one.balanced for one in measured(logits, labels, size, *networks)] == [None, None]


def test_processes_count_classes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two processes, one has images of a class that the other has none of."""
    group, images = ProcessGroup("cpu"), torch.eye(3)[:, :, None, None]
    shares: list[Tensor] = []
    monkeypatch.setattr(group, "sum", lambda values: shares.append(values) or values)
    for own in ([0, 0], [1, 2, 1]):
        evaluate([Given()], [(images[own], torch.tensor(own))], group, classes=3)
    counts = [share for share in shares if not share.is_floating_point()]
    assert (counts[0] + counts[1]).tolist() == [[2, 2, 1], [2, 2, 1]]


@pytest.mark.parametrize(
    ("average", "balanced", "better"),
    [(51.0, 40.0, (50.0, 45.0, False)), (49.0, 48.0, (49.0, 48.0, True))],
)
def test_balanced_classes_decide_between_network_and_average(
    average: float, balanced: float, better: tuple[float, float, bool]
) -> None:
    row = replace(ROW, average_top1=average, balanced=45.0, average_balanced=balanced)
    assert (row.best_top1, row.best_score, row.average_is_better) == better
    alone = replace(row, average_top1=None, average_balanced=None)
    assert (alone.best_top1, alone.best_score, alone.average_is_better) == (50.0, 45.0, False)


def test_rewritten_files_list_every_epoch_once(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, epoch=2, tokens="(4,1)", top1=60.0, average_top1=61.0)]
    for some in (rows[:1], rows, rows):
        write_metrics(tmp_path, some)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert tuple(table[0]) == tuple(one.name for one in fields(EpochRow))
    assert [row["epoch"] for row in table] == ["1", "2"]
    assert table[1]["tokens"] == "(4,1)"
    assert (table[0]["average_top1"], table[1]["average_top1"]) == ("", "61.0")
    assert [from_json(line, EpochRow) for line in lines] == rows
    lost = from_json(to_json(replace(ROW, loss=math.inf)), EpochRow)
    assert math.isnan(lost.loss)


def test_alone() -> None:
    alone = ProcessGroup("cpu")
    assert (alone.rank, alone.world, alone.first) == (0, 1, True)
    assert alone.device == torch.device("cpu")
    model = nn.Linear(2, 3)
    assert alone.wrap(model) is model
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(alone.sum(values), values)
    assert alone.gather("what") == ["what"]
    with alone.no_sync(model), alone.first_before_others():
        alone.wait()

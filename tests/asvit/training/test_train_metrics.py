"""The files that epochs are told in."""

import csv
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asvit.training.metrics import COLUMNS, EpochRow, TensorBoard, write_metrics

ROW = EpochRow(1, "", 1e-3, 2.0, 1.5, 50.0, 90.0, None, None, None, 300.0, 4.5)


def test_json_round_trip() -> None:
    assert EpochRow.from_json(json.loads(json.dumps(ROW.to_json()))) == ROW
    lost = EpochRow.from_json(replace(ROW, loss=math.inf).to_json())
    assert math.isnan(lost.loss)


def test_the_better_of_network_and_average() -> None:
    assert (ROW.best_top1, ROW.average_is_better) == (50.0, False)
    better = replace(ROW, average_top1=51.0)
    assert (better.best_top1, better.average_is_better) == (51.0, True)
    worse = replace(ROW, average_top1=49.0)
    assert (worse.best_top1, worse.average_is_better) == (50.0, False)


def test_every_epoch_is_there_once_however_often_it_is_written(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, epoch=2, tokens="(4,1)", top1=60.0, average_top1=61.0)]
    for some in (rows[:1], rows, rows):
        write_metrics(tmp_path, some)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert tuple(table[0]) == COLUMNS
    assert [row["epoch"] for row in table] == ["1", "2"]
    assert table[1]["tokens"] == "(4,1)"
    assert (table[0]["average_top1"], table[1]["average_top1"]) == ("", "61.0")
    assert [EpochRow.from_json(line) for line in lines] == rows


def test_tensorboard_has_every_epoch_once_after_a_session_more(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    second, third = replace(ROW, epoch=2, top1=60.0), replace(ROW, epoch=3, top1=65.0)
    board = TensorBoard(tmp_path, [])
    board.add(ROW)
    board.add(second)  # not kept: the session ends before its checkpoint
    board.close()
    board = TensorBoard(tmp_path, [ROW])
    board.add(second)
    board.add(third)
    board.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    told = [(event.step, event.value) for event in events.Scalars("top1")]
    assert told == [(1, 50.0), (2, 60.0), (3, 65.0)]
    assert "average_top1" not in events.Tags()["scalars"]


def test_without_tensorboard_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"needs tensorboard: pip install 'asvit\[train\]'"):
        TensorBoard(tmp_path, [])

"""The log within epochs against one made from all losses at once."""

import csv
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.training.step_log import StepLog, StepRow

NAMES = "update,epoch,loss,learning_rate,images_per_second"


def log_in(folder: Path, every: int, steps: int, told: list[StepRow] | None = None) -> StepLog:
    tell: Any = (lambda row: None) if told is None else told.append
    return StepLog(folder, every=every, steps=steps, images=8, tell=tell)


def rows_in(folder: Path) -> list[list[str]]:
    """The rows without the column of times."""
    with (folder / "metrics_steps.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == NAMES.split(",")
    return [row[:-1] for row in rows]


def by_hand(losses: list[float], rates: list[float], every: int, steps: int) -> list[list[str]]:
    """The rows of a training that was never stopped, from all of its losses."""
    rows = []
    for update in range(every, len(losses) + 1, every):
        epoch = (update - 1) // steps
        since = losses[max(update - every, epoch * steps) : update]
        mean = statistics.fmean(since)
        rows.append([str(update), str(epoch + 1), str(mean), str(rates[update - 1])])
    return rows


def play(
    log: StepLog, losses: list[float], rates: list[float], steps: int, read: int, begin: int
) -> None:
    """A training behind ``begin`` updates, whose losses are read every so many."""
    log.go_on(begin)
    log.begin(begin // steps, losses[begin // steps * steps : begin])
    last = begin
    for update in range(begin + 1, len(losses) + 1):
        if (update - begin) % read == 0 or update % steps == 0 or update == len(losses):
            log.add(update, losses[last:update], rates[last:update])
            last = update
        if update % steps == 0:
            log.begin(update // steps)


@given(
    losses=st.lists(st.floats(0, 9, width=32), min_size=1, max_size=40),
    every=st.integers(1, 9),
    steps=st.integers(1, 9),
    read=st.integers(1, 5),
    data=st.data(),
)
def test_rows_are_those_by_hand_wherever_a_training_is_stopped(
    losses: list[float], every: int, steps: int, read: int, data: st.DataObject
) -> None:
    rates = [0.1 / (1 + update) for update in range(len(losses))]
    stop = data.draw(st.integers(0, len(losses)))  # what a first session reached
    kept = data.draw(st.integers(0, stop))  # and what its last checkpoint has
    with TemporaryDirectory() as place:
        folder, told = Path(place), list[StepRow]()
        play(log_in(folder, every, steps), losses[:stop], rates[:stop], steps, read, 0)
        play(log_in(folder, every, steps, told), losses, rates, steps, read, kept)
        expected = by_hand(losses, rates, every, steps)
        assert rows_in(folder) == expected
        assert [str(row.update) for row in told] == [
            row[0] for row in expected if int(row[0]) > kept
        ]
        assert all(row.images_per_second > 0 for row in told)


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda data: data[:-9], ["2", "4"]),
        (lambda data: data + b"8,1,0.", ["2", "4", "6"]),
        (lambda data: data + b"\xff\n", []),
        (lambda data: data.replace(b"4,2", b"x,2"), ["2", "6"]),
        (lambda data: b"", []),
        (lambda data: None, []),
    ],
)
def test_what_is_left_of_a_damaged_file_is_whole(
    tmp_path: Path, damage: Any, left: list[str]
) -> None:
    play(log_in(tmp_path, 2, 3), [1.0] * 6, [0.1] * 6, 3, 1, 0)
    path = tmp_path / "metrics_steps.csv"
    data = damage(path.read_bytes())
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    log = log_in(tmp_path, 2, 3)
    assert [str(row.update) for row in log.go_on(6)] == left
    log.begin(2)
    log.add(8, [1.0, 3.0], [0.1, 0.1])
    assert [row[0] for row in rows_in(tmp_path)] == [*left, "8"]
    assert path.read_bytes().endswith(b"\n")

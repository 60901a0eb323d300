"""A training that is stopped anywhere ends as one that never was."""

import json
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import stoppable_train
import torch
from safetensors.torch import load_file

from asvit.runs.training import run_training
from asvit.training.checkpoint import Checkpoint
from experiments import forked
from tests.traps import Stop

KILL, INTERRUPT = signal.SIGKILL, signal.SIGINT
EXITS = {KILL: -KILL, INTERRUPT: 130}

Run = Callable[..., int]


@pytest.fixture(scope="module")
def run() -> Run:
    """Trains in a process of its own until it ends; gives its exit code."""
    return partial(forked.run, stoppable_train.train)


@pytest.fixture(scope="module")
def trained(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was never stopped."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run(folder) == 0
    return folder


def check_same(folder: Path, other: Path) -> None:
    """Check that two runs ended in the same bits and told the same."""
    for name in ("model", "best", "checkpoint"):
        ours, theirs = (load_file(path / f"{name}.safetensors") for path in (folder, other))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name
    assert told(folder) == told(other)


def told(folder: Path) -> tuple[object, ...]:
    """All that a run tells, but for times and what follows from the folder's own name."""
    result = json.loads((folder / "result.json").read_text())
    for name in ("wall_seconds", "command", "next_command", "stages", "saved"):
        del result[name]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in (*rows, *result["history"], result["best"]):
        for name in ("seconds", "images_per_second"):
            del row[name]
    columns = [line.split(",")[0] for line in (folder / "metrics.csv").read_text().splitlines()]
    return result, rows, columns


def test_every_epoch_is_told_once(trained: Path) -> None:
    _, rows, columns = told(trained)
    assert isinstance(rows, list)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["tokens"] for row in rows] == ["(16,5)", "(8,2)", "(4,1)"]
    assert columns == ["epoch", "1", "2", "3"]


# Only the last epoch has the network's own tokens, so that best.safetensors is written once.
@pytest.mark.parametrize(
    "stop",
    [
        *[("fsync", count, KILL) for count in (1, 3, 5, 12)],
        *[("update", count, KILL) for count in (1, 6, 12)],
        ("validate", 2, KILL),
        ("weights", 1, KILL),
        ("weights", 2, KILL),
        ("checkpoint", 3, KILL),
        ("metrics", 3, KILL),
        ("finish", 1, KILL),
        ("update", 7, INTERRUPT),
    ],
    ids=lambda stop: f"{stop[0]}-{stop[1]}-{stop[2].name}",
)
def test_a_stopped_training_ends_in_the_same_bits(
    tmp_path: Path, run: Run, trained: Path, stop: Stop
) -> None:
    folder = tmp_path / "run"
    assert run(folder, stop) == EXITS[signal.Signals(stop[2])]
    assert run(folder) == 0
    check_same(folder, trained)


def test_a_kill_costs_an_epoch_at_most(tmp_path: Path, run: Run) -> None:
    assert run(tmp_path / "run", ("update", 12, KILL)) == -KILL  # the last update of epoch 3
    assert len(Checkpoint.read(tmp_path / "run" / "checkpoint.safetensors").history) == 2


def test_a_training_that_goes_on_with_other_settings_is_refused(trained: Path) -> None:
    settings = {**stoppable_train.TRAINING, "epochs": 4, "retokenize": "2/1/1"}
    message = r"other settings: epochs 3 \(now 4\), .*; give --out"
    with pytest.raises(ValueError, match=message):
        run_training(stoppable_train.ARCHITECTURE, out=trained, **settings)

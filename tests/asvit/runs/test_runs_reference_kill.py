"""A table that is stopped, at any point and any number of times, ends as one that never was."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import stoppable_reference

from asvit.runs import build_reference
from experiments import forked
from tests.traps import Stop

KILL, INTERRUPT = signal.SIGKILL, signal.SIGINT

Outcome = tuple[bytes, dict[str, Any]]
Start = Callable[..., ForkServerProcess]
Run = Callable[..., int | None]

# A table that is really trained, in seconds.
REAL = {
    "preset": "quick", "n": 3, "seeds": 2, "classes": 3, "train_images": 40,
    "test_images": 30, "steps": 3, "batch_size": 8, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def start() -> Start:
    """Starts builds as processes forked from one that has imported everything."""

    def started(folder: Path, **how: Any) -> ForkServerProcess:
        return forked.start(stoppable_reference.run, folder, how.pop("settings", {}), **how)

    return started


@pytest.fixture(scope="module")
def run(start: Start) -> Run:
    """Builds in a process of its own until it ends; gives its exit code."""

    def ran(folder: Path, **how: Any) -> int | None:
        process = start(folder, **how)
        process.join(timeout=120)
        return process.exitcode

    return ran


@pytest.fixture(scope="module")
def whole(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a run leaves that is never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert run(folder) == 0
    return outcome(folder)


def outcome(folder: Path) -> Outcome:
    """All that a run leaves, but for the time it took and the folder's own name."""
    result = json.loads((folder / "result.json").read_text())
    for name in ("wall_seconds", "training_seconds", "table", "command", "next_command"):
        del result[name]
    return (folder / "table.csv").read_bytes(), result


def test_a_whole_run_trains_all_and_keeps_what_failed(whole: Outcome) -> None:
    assert len(whole[1]["rows"]) == 6
    assert len(whole[1]["failures"]) >= 1
    assert b",," in whole[0]


# The first fsync is the journal's start, then two a training: the journal's and the table's.
@pytest.mark.parametrize(
    "stop",
    [
        *[("fsync", count, KILL) for count in (1, 2, 3, 4, 12, 25, 26, 27)],
        *[("training", count, KILL) for count in (1, 2, 12)],
        *[("table", count, KILL) for count in (1, 2, 12, 13)],
        ("result", 1, KILL),
        ("training", 5, INTERRUPT),
        ("fsync", 7, INTERRUPT),
        ("table", 4, INTERRUPT),
    ],
    ids=lambda stop: f"{stop[0]}-{stop[1]}-{stop[2].name}",
)
def test_stopped_once_and_continued(tmp_path: Path, run: Run, whole: Outcome, stop: Stop) -> None:
    assert run(tmp_path / "run", stop=stop) == (130 if stop[2] == INTERRUPT else -KILL)
    assert run(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == whole


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("largest_file", [100, 900, 1_901])
def test_a_full_disk_costs_nothing_that_was_trained(
    tmp_path: Path, run: Run, whole: Outcome, largest_file: int
) -> None:
    # A limit on the size of files cuts a record in the middle, as a full disk does.
    assert run(tmp_path / "run", largest_file=largest_file) == 3
    assert run(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == whole


def test_more_architectures_and_seeds_extend_a_run_to_what_it_would_have_been(
    tmp_path: Path, run: Run, whole: Outcome
) -> None:
    assert run(tmp_path / "run", settings={"n": 3, "seeds": 1}) == 0
    assert run(tmp_path / "run", stop=("training", 5, KILL)) == -KILL
    assert run(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == whole


def test_two_processes_do_not_share_a_folder(tmp_path: Path, start: Start, whole: Outcome) -> None:
    first = start(tmp_path / "run", sleep=0.1)
    while not (tmp_path / "run" / "trainings.jsonl").exists():
        time.sleep(0.01)
    with pytest.raises(ValueError, match=r"another reference table is running in .*run; wait"):
        build_reference(out=tmp_path / "run", **REAL)
    first.join(timeout=60)
    assert first.exitcode == 0
    assert outcome(tmp_path / "run") == whole


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a real run of one job leaves."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    build_reference(out=folder, **REAL)
    return outcome(folder)


def test_two_jobs_killed_in_between_give_the_table_of_one(
    tmp_path: Path, trained: Outcome
) -> None:
    folder = tmp_path / "run"
    words = [
        word for name, value in REAL.items() for word in (f"--{name.replace('_', '-')}", value)
    ]
    command = [sys.executable, "-m", "asvit", "reference", "build", *words, "--jobs", 2]
    process = subprocess.Popen(
        [str(word) for word in (*command, "--out", folder)], stderr=subprocess.PIPE
    )
    while process.poll() is None and size(folder / "trainings.jsonl") < 1_200:
        time.sleep(0.001)
    process.kill()
    process.communicate()  # ends when the workers have, too: they share its stderr
    assert 1 <= len((folder / "trainings.jsonl").read_text().splitlines()) < 7
    build_reference(out=folder, **REAL)
    assert outcome(folder) == trained


def test_a_table_of_two_jobs_is_that_of_one(tmp_path: Path, trained: Outcome) -> None:
    build_reference(out=tmp_path / "run", jobs=2, **REAL)
    assert outcome(tmp_path / "run") == trained

"""A scaling that is stopped, at any point and any number of times, ends as one that never was."""

import json
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import stoppable_scale

from experiments import forked
from tests.traps import Stop

KILL, INTERRUPT = signal.SIGKILL, signal.SIGINT

Outcome = tuple[bytes, bytes, dict[str, Any]]
Start = Callable[..., ForkServerProcess]
Run = Callable[..., int | None]


@pytest.fixture(scope="module")
def start() -> Start:
    """Starts scalings as processes forked from one that has imported everything."""

    def started(folder: Path, **how: Any) -> ForkServerProcess:
        return forked.start(stoppable_scale.run, folder, how.pop("settings", {}), **how)

    return started


@pytest.fixture(scope="module")
def run(start: Start) -> Run:
    """Scales in a process of its own until it ends; gives its exit code."""

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
    for name in ("wall_seconds", "command"):
        del result[name]
    tables = [(folder / name).read_bytes() for name in ("steps.csv", "candidates.csv")]
    return tables[0], tables[1], result


def test_a_whole_run_takes_several_steps(whole: Outcome) -> None:
    assert len(whole[2]["steps"]) > 6
    assert whole[2]["reached"]
    assert b"singular" in whole[1]


# The first fsync is the journal's start, then one a network, and two a step for the tables.
@pytest.mark.parametrize(
    "stop",
    [
        *[("fsync", count, KILL) for count in (1, 2, 3, 4, 5, 30, 61)],
        *[("measure", count, KILL) for count in (1, 2, 20)],
        *[("table", count, KILL) for count in (1, 2, 5, 6)],
        ("result", 1, KILL),
        ("measure", 9, INTERRUPT),
        ("fsync", 12, INTERRUPT),
        ("table", 4, INTERRUPT),
    ],
    ids=lambda stop: f"{stop[0]}-{stop[1]}-{stop[2].name}",
)
def test_stopped_once_and_continued(tmp_path: Path, run: Run, whole: Outcome, stop: Stop) -> None:
    assert run(tmp_path / "run", stop=stop) == (130 if stop[2] == INTERRUPT else -KILL)
    assert run(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == whole


@pytest.mark.parametrize(
    "architecture", ["shift:1,1,2,1|2|12|1|48", "psvit2d:bs----|s-----|b-----"]
)
def test_architectures_of_other_spaces_go_on_growing_after_kills(
    tmp_path: Path, run: Run, architecture: str
) -> None:
    settings = {"architecture": architecture, "budget": "9M"}
    assert run(tmp_path / "whole", settings=settings) == 0
    for stop in (("measure", 3, KILL), ("fsync", 9, KILL), ("table", 2, KILL)):
        assert run(tmp_path / "cut", settings=settings, stop=stop) == -KILL
    assert run(tmp_path / "cut", settings=settings) == 0
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("largest_file", [100, 1_000, 5_001])
def test_a_full_disk_costs_nothing_that_was_measured(
    tmp_path: Path, run: Run, whole: Outcome, largest_file: int
) -> None:
    # A limit on the size of files cuts a record in the middle, as a full disk does.
    assert run(tmp_path / "run", largest_file=largest_file) == 3
    assert run(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == whole


def test_a_larger_budget_extends_a_run_to_what_it_would_have_been(
    tmp_path: Path, run: Run, whole: Outcome
) -> None:
    assert run(tmp_path / "run", settings={"budget": "3M"}) == 0
    assert run(tmp_path / "run", stop=("measure", 5, KILL)) == -KILL
    assert run(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == whole


def test_two_processes_do_not_share_a_folder(tmp_path: Path, start: Start, whole: Outcome) -> None:
    first = start(tmp_path / "run", sleep=0.05)
    while not (tmp_path / "run" / "measured.jsonl").exists():
        time.sleep(0.01)
    from asvit.runs import run_scaling

    settings = {**stoppable_scale.SETTINGS, "architecture": stoppable_scale.ARCHITECTURE}
    with pytest.raises(ValueError, match=r"another scaling is running in .*run; wait"):
        run_scaling(out=tmp_path / "run", **settings)
    first.join(timeout=60)
    assert first.exitcode == 0
    assert outcome(tmp_path / "run") == whole

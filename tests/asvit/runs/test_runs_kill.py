"""A run that is stopped, at any point and any number of times, ends as one that never was."""

import json
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import stoppable_search

from asvit.report.search import read_run
from asvit.search import CONTROLLERS, read_trials, write_trials
from experiments import forked
from tests.traps import Stop

STEPS = 24
SETTINGS = {"space": "asvit-tiny", "steps": STEPS, "seed": 3}
KILL, INTERRUPT = signal.SIGKILL, signal.SIGINT

Outcome = tuple[bytes, dict[str, Any]]
Start = Callable[..., ForkServerProcess]


@pytest.fixture(scope="module")
def start() -> Start:
    """Starts searches as processes forked from one that has imported everything."""

    def started(folder: Path, controller: str = "reinforce", **how: Any) -> ForkServerProcess:
        settings = {**SETTINGS, "controller": controller, **how.pop("settings", {})}
        return forked.start(stoppable_search.run, folder, settings, **how)

    return started


@pytest.fixture(scope="module")
def run(start: Start) -> Callable[..., int | None]:
    """Searches in a process of its own until it ends; gives its exit code."""

    def ran(folder: Path, controller: str = "reinforce", **how: Any) -> int | None:
        process = start(folder, controller, **how)
        process.join(timeout=120)
        return process.exitcode

    return ran


@pytest.fixture(scope="module")
def whole(
    run: Callable[..., int | None], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Outcome]:
    """What a run of a controller leaves that is never stopped."""
    known: dict[str, Outcome] = {}

    def left(controller: str) -> Outcome:
        if controller not in known:
            folder = tmp_path_factory.mktemp("whole") / "run"
            assert run(folder, controller) == 0
            known[controller] = outcome(folder)
        return known[controller]

    return left


def outcome(folder: Path) -> Outcome:
    """All that a run leaves, but for the time it took and the folder's own name."""
    result = json.loads((folder / "result.json").read_text())
    for name in ("wall_seconds", "command"):
        del result[name]
    return (folder / "trials.csv").read_bytes(), result


# A trial takes two fsyncs, when it is asked for and when it is told; the first two of a run are
# the study's, and the first step and every tenth write trials.csv.
@pytest.mark.parametrize(
    "stop",
    [
        *[("fsync", count, KILL) for count in (1, 2, 3, 4, 23, 24, 52, 53)],
        *[("evaluate", count, KILL) for count in (1, 8)],
        *[("unlink", count, KILL) for count in (1, 17, 40)],
        *[("table", count, KILL) for count in (1, 3)],
        ("result", 1, KILL),
        ("evaluate", 5, INTERRUPT),
        *[("fsync", count, INTERRUPT) for count in (2, 20, 21)],
        ("unlink", 60, INTERRUPT),
        ("table", 2, INTERRUPT),
    ],
    ids=lambda stop: f"{stop[0]}-{stop[1]}-{stop[2].name}",
)
def test_stopped_once_and_continued(
    tmp_path: Path,
    run: Callable[..., int | None],
    whole: Callable[[str], Outcome],
    stop: Stop,
) -> None:
    expected = whole("reinforce")
    assert run(tmp_path / "run", stop=stop) == (130 if stop[2] == INTERRUPT else -KILL)
    assert run(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == expected


def test_a_killed_run_shows_all_that_was_measured(
    tmp_path: Path, run: Callable[..., int | None], whole: Callable[[str], Outcome]
) -> None:
    expected = whole("reinforce")[0].splitlines(keepends=True)
    assert run(tmp_path, stop=("evaluate", 18, KILL)) == -KILL
    journal = tmp_path / "study.journal"
    before = journal.read_bytes()
    assert len(read_trials(tmp_path / "trials.csv")) < 17
    for _ in range(2):
        trials = read_run(tmp_path).trials
        write_trials(tmp_path / "shown.csv", trials, list(trials[0].values))
        assert (tmp_path / "shown.csv").read_bytes() == b"".join(expected[:18])
        (tmp_path / "trials.csv").unlink(missing_ok=True)
    assert journal.read_bytes() == before  # not even the trial in flight is touched


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_killed_again_and_again_at_random(
    tmp_path: Path,
    run: Callable[..., int | None],
    start: Start,
    whole: Callable[[str], Outcome],
    controller: str,
) -> None:
    expected = whole(controller)
    rng = random.Random(controller)
    journal = tmp_path / "run" / "study.journal"
    for _ in range(4):
        enough = size(journal) + rng.randrange(1_000, 15_000)
        process = start(tmp_path / "run", controller, sleep=0.005)
        while process.is_alive() and size(journal) < enough:
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -KILL
    assert run(tmp_path / "run", controller) == 0
    assert outcome(tmp_path / "run") == expected


def test_a_batch_is_continued_in_its_middle(
    tmp_path: Path, run: Callable[..., int | None]
) -> None:
    settings = {"batch": 5}
    assert run(tmp_path / "whole", settings=settings) == 0
    assert run(tmp_path / "cut", settings=settings, stop=("evaluate", 8, KILL)) == -KILL
    assert run(tmp_path / "cut", settings=settings) == 0
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("space", ["shiftvit", "psvit2d", "psvit1d"])
def test_every_space_is_continued_after_kills(
    tmp_path: Path, run: Callable[..., int | None], space: str
) -> None:
    settings = {"space": space}
    assert run(tmp_path / "whole", settings=settings) == 0
    for stop in (("evaluate", 5, KILL), ("fsync", 9, KILL), ("table", 2, KILL)):
        assert run(tmp_path / "cut", settings=settings, stop=stop) == -KILL
    assert run(tmp_path / "cut", settings=settings) == 0
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_an_interrupt_leaves_the_table_of_what_was_measured(
    tmp_path: Path, run: Callable[..., int | None], whole: Callable[[str], Outcome]
) -> None:
    assert run(tmp_path, stop=("evaluate", 6, INTERRUPT)) == 130
    lines = (tmp_path / "trials.csv").read_bytes().splitlines()
    assert len(lines) > 1
    assert whole("reinforce")[0].splitlines()[: len(lines)] == lines
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("largest_file", [300, 2_000, 20_000, 40_001])
def test_a_full_disk_costs_nothing_that_was_measured(
    tmp_path: Path,
    run: Callable[..., int | None],
    whole: Callable[[str], Outcome],
    largest_file: int,
) -> None:
    # A limit on the size of files cuts a record in the middle, as a full disk does.
    expected = whole("reinforce")
    assert run(tmp_path / "run", largest_file=largest_file) == 3
    assert run(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == expected


def test_two_processes_do_not_share_a_folder(
    tmp_path: Path, start: Start, run: Callable[..., int | None], whole: Callable[[str], Outcome]
) -> None:
    expected = whole("reinforce")
    first = start(tmp_path / "run", sleep=0.05)
    while not (tmp_path / "run" / "study.journal").exists():
        time.sleep(0.01)
    from asvit.runs import run_search

    with pytest.raises(ValueError, match=r"another search is running in .*run; wait") as caught:
        run_search(out=tmp_path / "run", evaluate=stoppable_search.fake_evaluate, **SETTINGS)
    assert "\n" not in str(caught.value)
    first.join(timeout=60)
    assert first.exitcode == 0
    assert outcome(tmp_path / "run") == expected

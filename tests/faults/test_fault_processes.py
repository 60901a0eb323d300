"""Signals, several processes in one folder, clocks that jump, and too little memory."""

import csv
import json
import multiprocessing
import os
import signal
from functools import partial
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from tiny_runs import ALONE, LONG, QUICK, begun, goes_on, marked
from torch.optim.optimizer import register_optimizer_step_pre_hook

from asvit.training.images import loaders
from experiments import forked
from experiments.kill_runs import RUN, Campaign, words
from tests.traps import limit_memory, mislead_clock

YEAR = 3.2e7  # seconds


@pytest.mark.parametrize("name", marked(ALONE))
def test_of_three_processes_started_at_once_one_goes_on(campaign: Campaign, name: str) -> None:
    folder = campaign.new(name, "together")
    processes = [forked.start(forked.command, words(name), folder) for _ in range(3)]
    for process in processes:
        process.join(LONG)
    # One that comes late may find the run finished.
    codes = sorted(process.exitcode or 0 for process in processes)
    assert codes in ([0, 3, 3], [0, 0, 3], [0, 0, 0])
    # A database that two make at the same moment refuses the second one earlier than the folder.
    refusals = ("asvit: another ", "asvit: cannot open the storage ")
    lines = [one for one in forked.printed(folder).splitlines() if one.startswith(refusals)]
    assert len(lines) == codes.count(3)
    assert name == "search, SQLite" or all("is running in run" in line for line in lines)
    campaign.check_same(name, folder, what="beside two others")


def send(process: BaseProcess, number: signal.Signals) -> None:
    """Send a signal to a process that we started."""
    assert process.pid is not None
    os.kill(process.pid, number)


@pytest.mark.parametrize("name", marked([*QUICK, "search", "scale"]))
def test_two_interrupts_in_a_row_do_no_more_than_one(campaign: Campaign, name: str) -> None:
    folder = campaign.new(name, "interrupted")
    process = begun(name, folder)
    for _ in range(2):
        if process.is_alive():
            send(process, signal.SIGINT)
        process.join(0.01)
    process.join(LONG)
    assert process.exitcode == 130
    goes_on(campaign, name, folder, "after two interrupts")


def lose_workers(number: signal.Signals) -> None:
    """Send a signal to the workers that prepare images, in the second step of a training."""
    loaders.PATIENCE = 8
    steps = count(1)

    def send_in_the_second(*_given: object) -> None:
        if next(steps) == 2:
            for worker in multiprocessing.active_children():
                send(worker, number)

    register_optimizer_step_pre_hook(send_in_the_second)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_training_goes_on_without_its_workers(
    campaign: Campaign, number: signal.Signals
) -> None:
    folder = campaign.new("train", f"without workers, by {number.name}")
    command = [*words("train"), "--workers", "2"]
    assert forked.run(forked.command, command, folder, prepare=partial(lose_workers, number)) == 0
    campaign.check_same("train", folder, what="without its workers")
    said = forked.printed(folder)
    assert "asvit: lost a worker that prepares images (" in said
    assert "the training goes on with --workers 1;" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", marked([*QUICK, "search", "scale"]))
def test_a_clock_that_jumps_by_years_changes_nothing(campaign: Campaign, name: str) -> None:
    folder = campaign.new(name, "misled")
    prepare = partial(mislead_clock, YEAR)
    assert forked.run(forked.command, words(name), folder, prepare=prepare) == 0
    campaign.check_same(name, folder, what="with a clock that jumps")
    seconds = json.loads((folder / RUN / "result.json").read_text())["wall_seconds"]
    assert 0 < seconds < LONG


def values(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of a search, by architecture."""
    with (folder / RUN / "trials.csv").open(encoding="utf-8") as file:
        return {row["architecture"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_a_search_with_too_little_memory_goes_on(tmp_path: Path) -> None:
    size = "--image-size 128 --images 16 --points 10 --repeats 1 --device cpu"
    command = f"search --space asvit-tiny --steps 4 {size} --out {RUN}".split()
    fed, starved = tmp_path / "fed", tmp_path / "starved"
    assert forked.run(forked.command, command, fed) == 0
    prepare = partial(limit_memory, 120)  # a third of what the measures would like to have
    assert forked.run(forked.command, command, starved, prepare=prepare) in (0, 3)
    expected, found = values(fed), values(starved)
    failed = any(row["state"] == "failed" for row in found.values())
    assert failed or "out of memory: from now on" in forked.printed(starved)
    for architecture, row in found.items():
        for name in ("length_distortion", "ntk_condition_number"):
            if row[name] == "nan":
                assert f"{name}: repeat 1 of 1: " in row["reason"]
            elif architecture in expected:
                right = float(expected[architecture][name])
                assert float(row[name]) == pytest.approx(right, rel=1e-3)

"""Journals and results that are spoilt, several processes in a folder, signals, and clocks."""

import json
import multiprocessing
import os
import shutil
import signal
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from tiny_runs import ALONE, LONG, QUICK, fails, goes_on, left_alone, marked, told
from torch.optim.optimizer import register_optimizer_step_pre_hook

from asvit.core.results import stored_content
from tests.campaigns import forked
from tests.campaigns.kill_runs import RUN, Campaign, words
from tests.traps import limit_memory

RESTORE = "restore it from a copy, or give --fresh to start over"
#: Command to the file that all of its run follows from.
KEPT = {
    "search": "study.journal",
    "scale": "run.jsonl",
    "correlate": "run.jsonl",
    "train": "checkpoint.safetensors",
    "supernet train": "supernet.safetensors",
    "supernet evolve": "study.journal",
}


def finished(campaign: Campaign, name: str, which: str) -> Path:
    """The working folder of a finished run."""
    folder = campaign.new(name, which)
    whole = campaign.reference_folder(name)
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize("name", ["train", "supernet train"])
@pytest.mark.parametrize("damage", ["cut", "emptied"])
def test_damaged_weights_are_refused(campaign: Campaign, name: str, damage: str) -> None:
    folder = finished(campaign, name, damage)
    path = folder / RUN / KEPT[name]
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-9], "emptied": b""}[damage])
    left_alone(words(name), folder, KEPT[name], RESTORE)


@pytest.mark.parametrize("name", marked(ALONE))
def test_of_three_processes_started_at_once_one_goes_on(campaign: Campaign, name: str) -> None:
    folder = campaign.new(name, "together")
    processes = [forked.start(forked.command, words(name), folder) for _ in range(3)]
    for process in processes:
        process.join(LONG)
    # One that comes late may find the run finished.
    codes = sorted(process.exitcode or 0 for process in processes)
    assert codes in ([0, 3, 3], [0, 0, 3], [0, 0, 0])
    refusals = ("asvit: another ",)
    lines = [one for one in forked.printed(folder).splitlines() if one.startswith(refusals)]
    assert len(lines) == codes.count(3)
    assert all("is running in run" in line for line in lines)
    campaign.check_same(name, folder, what="beside two others")


def lose_workers(number: signal.Signals) -> None:
    """Send a signal to the workers that prepare images, in the second step that they feed."""
    steps = count(1)

    def send_in_the_second(*_given: object) -> None:
        workers = multiprocessing.active_children()
        if workers and next(steps) == 2:
            for worker in workers:
                os.kill(worker.pid, number)

    register_optimizer_step_pre_hook(send_in_the_second)


def test_a_training_whose_workers_are_lost_goes_on_later(campaign: Campaign) -> None:
    folder = campaign.new("train", "without workers")
    command = [*words("train"), "--workers", "2"]
    prepare = partial(lose_workers, signal.SIGKILL)
    assert forked.run(forked.command, command, folder, prepare=prepare) == 3
    assert "asvit: a worker that prepares images was lost (DataLoader" in told(folder)
    goes_on(campaign, "train", folder, "without its workers")


def test_a_training_with_too_little_memory_says_so_and_goes_on_with_more(
    campaign: Campaign,
) -> None:
    folder = campaign.new("train", "starved")
    prepare = partial(limit_memory, 8)
    fails(words("train"), folder, "memory ran out", prepare=prepare)
    assert not list((folder / RUN).glob(".*.part"))
    goes_on(campaign, "train", folder, "after memory ran out")


@pytest.mark.parametrize("name", marked(ALONE))
def test_a_result_that_is_half_written_or_another_versions_is_written_again(
    campaign: Campaign, name: str
) -> None:
    folder = finished(campaign, name, "result")
    path = folder / RUN / "result.json"
    content = path.read_bytes()
    right = stored_content(path)
    wrongs = (
        content[: len(content) // 2],
        b"",
        json.dumps({**right, "schema_version": right["schema_version"] + 1}).encode(),
        json.dumps({**right, "schema_version": 0}).encode(),
        json.dumps({key: right[key] for key in ("schema_version", "kind")}).encode(),
        json.dumps(right).encode(),
    )
    for wrong in wrongs if name in QUICK else wrongs[::2]:
        path.write_bytes(wrong)
        goes_on(campaign, name, folder, "after its result was spoilt")

"""Journals and results that are spoilt, several processes in a folder, signals, and clocks."""

import csv
import json
import multiprocessing
import os
import shutil
import signal
import time
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from tiny_runs import ALONE, LONG, QUICK, begun, fails, goes_on, left_alone, marked, told
from torch.optim.optimizer import register_optimizer_step_pre_hook

from asvit.core.results import stored_content
from asvit.core.run_files import previous
from tests.campaigns import forked
from tests.campaigns.kill_runs import RUN, Campaign, words
from tests.hostile import flipped, sealed_result
from tests.traps import limit_memory, mislead_clock

RESTORE = "restore it from a copy, or give --fresh to start over"
#: Command to the file that all of its run follows from.
KEPT = {
    "search": "study.journal",
    "scale": "measured.jsonl",
    "correlate": "scores.jsonl",
    "train": "checkpoint.safetensors",
    "supernet train": "supernet.safetensors",
    "supernet evolve": "accuracies.jsonl",
}


def finished(campaign: Campaign, name: str, which: str) -> Path:
    """The working folder of a finished run."""
    folder = campaign.new(name, which)
    whole = campaign.reference_folder(name)
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize("name", ["train", "supernet train"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "gone"])
def test_the_weights_before_stand_in_for_damaged_ones(
    campaign: Campaign, name: str, damage: str
) -> None:
    folder = finished(campaign, name, damage)
    path = folder / RUN / KEPT[name]
    content = path.read_bytes()
    damaged = {"cut": content[:-9], "emptied": b"", "flipped": flipped(content, -8)}
    path.unlink()
    if damage in damaged:
        path.write_bytes(damaged[damage])
    goes_on(campaign, name, folder, damage)
    if damage == "gone":
        return
    for one in (path, path.with_name(previous(path.name))):
        one.write_bytes(damaged[damage])
    left_alone(words(name), folder, KEPT[name], RESTORE)


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
        sealed_result({**right, "schema_version": right["schema_version"] + 1}),
        sealed_result({**right, "schema_version": 0}),
        sealed_result({key: right[key] for key in ("schema_version", "kind")}),
        json.dumps(right).encode(),
    )
    for wrong in wrongs if name in QUICK else wrongs[::2]:
        path.write_bytes(wrong)
        goes_on(campaign, name, folder, "after its result was spoilt")


@pytest.mark.parametrize(
    ("command", "code", "told_of"),
    [
        ("train run", 2, "run ends in no architecture that is known here"),
        ("scale --budget 2M", 3, "that this version can read: kind 'search', schema 99"),
    ],
)
def test_a_result_of_a_newer_version_is_no_start(
    tmp_path: Path, command: str, code: int, told_of: str
) -> None:
    folder = tmp_path
    for run in (folder / RUN, folder / "runs" / "a"):
        run.mkdir(parents=True)
        newer = {"schema_version": 99, "kind": "search"}
        (run / "result.json").write_bytes(sealed_result(newer))
    assert forked.run(forked.command, [*command.split(), "--device", "cpu"], folder) == code
    (line,) = forked.printed(folder).splitlines()
    assert told_of in line


REMOVED = marked([name for name in ALONE if name != "search"])


@pytest.mark.parametrize("name", [*REMOVED, pytest.param("search", marks=pytest.mark.slow)])
def test_a_folder_that_is_removed_ends_its_run(campaign: Campaign, name: str) -> None:
    folder = campaign.new(name, "removed")
    process = begun(name, folder)
    (folder / RUN).rename(folder / "removed")  # at once, whatever is being written
    process.join(LONG)
    assert process.exitcode == 3
    assert told(folder).startswith("asvit: ")
    assert "Traceback" not in forked.printed(folder)
    goes_on(campaign, name, folder, "after it was removed")


@pytest.mark.parametrize("name", marked(["scale", "correlate"]))
def test_a_journal_that_is_removed_ends_its_run(campaign: Campaign, name: str) -> None:
    folder = campaign.new(name, "unkept")
    process, journal = begun(name, folder), folder / RUN / KEPT[name]
    while not journal.exists():  # other files are written first
        assert process.is_alive(), forked.printed(folder)
        time.sleep(0.001)
    journal.unlink()
    process.join(LONG)
    assert process.exitcode == 3
    assert "the journal was removed during the run" in told(folder)
    assert not journal.exists()


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
    refusals = ("asvit: another ",)
    lines = [one for one in forked.printed(folder).splitlines() if one.startswith(refusals)]
    assert len(lines) == codes.count(3)
    assert all("is running in run" in line for line in lines)
    campaign.check_same(name, folder, what="beside two others")


@pytest.mark.parametrize("name", marked([*QUICK, "search", "scale"]))
def test_two_interrupts_in_a_row_do_no_more_than_one(campaign: Campaign, name: str) -> None:
    folder = campaign.new(name, "interrupted")
    process = begun(name, folder)
    for _ in range(2):
        if process.is_alive():
            os.kill(process.pid, signal.SIGINT)
        process.join(0.01)
    process.join(LONG)
    assert process.exitcode == 130
    goes_on(campaign, name, folder, "after two interrupts")


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


def test_a_training_with_too_little_memory_says_so_and_goes_on_with_more(
    campaign: Campaign,
) -> None:
    folder = campaign.new("train", "starved")
    prepare = partial(limit_memory, 8)
    fails(words("train"), folder, "memory ran out", prepare=prepare)
    assert not list((folder / RUN).glob(".*.part"))
    goes_on(campaign, "train", folder, "after memory ran out")


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

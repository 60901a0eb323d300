"""Files of runs that were cut off, overwritten, removed, or written by other versions."""

import json
import random
import shutil
from pathlib import Path

import pytest
from tiny_runs import ALONE, LONG, begun, goes_on, left_alone, marked, told

from asvit.core.run_files import previous
from asvit.search.journal import open_journal
from experiments import forked
from experiments.kill_runs import RUN, Campaign, words

RESTORE = "restore it from a copy, or give --fresh to start over"
#: Command to the file that all of its run follows from.
KEPT = {
    "search": "study.journal",
    "search, SQLite": "../study.db",
    "scale": "measured.jsonl",
    "correlate": "scores.jsonl",
    "reference build": "trainings.jsonl",
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


@pytest.mark.slow
def test_a_study_that_is_cut_anywhere_has_its_whole_records(
    campaign: Campaign, tmp_path: Path
) -> None:
    content = (campaign.reference_folder("search") / RUN / "study.journal").read_bytes()
    path, offsets = tmp_path / "study.journal", random.Random(0)
    for length in sorted(offsets.sample(range(len(content)), 300)):
        path.write_bytes(content[:length])
        open_journal(path)
        assert path.read_bytes() == content[: content[:length].rfind(b"\n") + 1]


@pytest.mark.parametrize("name", ["train", "supernet train"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "gone"])
def test_the_weights_before_stand_in_for_damaged_ones(
    campaign: Campaign, name: str, damage: str
) -> None:
    folder = finished(campaign, name, damage)
    path = folder / RUN / KEPT[name]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    damaged = {"cut": content[:-9], "emptied": b"", "flipped": content}
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
    right = json.loads(content)
    for wrong in (
        content[: len(content) // 2],
        b"",
        json.dumps({**right, "schema_version": right["schema_version"] + 1}).encode(),
        json.dumps({**right, "schema_version": 0}).encode(),
        json.dumps({key: right[key] for key in ("schema_version", "kind")}).encode(),
    ):
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
        (run / "result.json").write_text('{"schema_version": 99, "kind": "search"}')
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


@pytest.mark.parametrize("name", marked(["reference build", "scale", "correlate"]))
def test_a_journal_that_is_removed_ends_its_run(campaign: Campaign, name: str) -> None:
    folder = campaign.new(name, "unkept")
    process = begun(name, folder)
    (folder / RUN / KEPT[name]).unlink()
    process.join(LONG)
    assert process.exitcode == 3
    assert "the journal was removed while the run went on" in told(folder)
    assert not (folder / RUN / KEPT[name]).exists()

"""The journal of any kind of run: every record is safe, and damage is refused."""

import json
import math
from pathlib import Path

import pytest

from tests.asvit.toy_run import IMAGES, ToyJournal, ToyRow, ToySettings

SETTINGS = ToySettings("x")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = ToyJournal(tmp_path / "toy.jsonl")
    journal.start(SETTINGS, images=IMAGES, device="cpu")
    journal.add_record(ToyRow(0, math.nan))
    return tmp_path / "toy.jsonl"


def test_what_was_kept_is_read_back(path: Path) -> None:
    journal = ToyJournal(path)
    assert (journal.settings, journal.images, journal.device) == (SETTINGS, IMAGES, "cpu")
    assert repr(journal.records) == repr([ToyRow(0, math.nan)])
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    new = ToyJournal(path.parent / "new.jsonl")
    assert (new.settings, new.images, new.device, new.records) == (None, None, None, [])


def test_the_same_start_is_kept_once_and_another_one_replaces_it(path: Path) -> None:
    before = path.read_bytes()
    ToyJournal(path).start(SETTINGS, images=IMAGES, device="cpu")
    assert path.read_bytes() == before
    larger = ToySettings("x", steps=9)
    ToyJournal(path).start(larger, images=IMAGES, device="cpu")
    assert ToyJournal(path).settings == larger
    assert len(ToyJournal(path).records) == 1


def test_the_time_of_all_sessions_adds_up(path: Path) -> None:
    lines = path.read_text().splitlines()
    record = {**json.loads(lines[1]), "elapsed": 60.0}
    path.write_text(f"{lines[0]}\n{json.dumps(record)}\n")
    journal = ToyJournal(path)
    assert journal.elapsed >= 60.0
    journal.add_record(ToyRow(1, 1.0))
    assert ToyJournal(path).seconds >= 60.0


def test_a_record_cut_short_at_any_byte_is_dropped(path: Path) -> None:
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert ToyJournal.peek(path) == (None if end < first else SETTINGS)
        assert path.read_bytes() == whole[:end]  # looking repairs nothing
        journal = ToyJournal(path)
        assert journal.records == []
        assert (journal.settings is None) == (end < first)
        journal.start(SETTINGS, images=IMAGES, device="cpu")
        journal.add_record(ToyRow(0, 1.0))
        assert ToyJournal(path).records == [ToyRow(0, 1.0)]


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "{}", "null", '{"settings": {}}', '{"step": "x"}', '{"step": 1, "value": 1}', ""],
)
def test_damage_anywhere_else_is_refused_and_left_alone(path: Path, line: str) -> None:
    start, record = path.read_text().splitlines()
    broken = f"{start}\n{line}\n{record}\n"
    path.write_text(broken)
    with pytest.raises(ValueError, match=r"toy\.jsonl, line 2 is not a record of a toy"):
        ToyJournal(path)
    assert path.read_text() == broken


@pytest.mark.parametrize("change", ['"schema_version":2', '"kind":"search"'])
def test_another_version_or_kind_is_refused(path: Path, change: str) -> None:
    key = change.partition(":")[0]
    old = {'"schema_version"': '"schema_version":1', '"kind"': '"kind":"toy"'}[key]
    path.write_text(path.read_text().replace(old, change))
    with pytest.raises(ValueError, match="line 1"):
        ToyJournal(path)


def test_a_disk_that_refuses_and_a_journal_that_is_gone_are_told(path: Path) -> None:
    journal = ToyJournal(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="the journal was removed while the run went on"):
        journal.add_record(ToyRow(1, 1.0))
    path.mkdir()
    with pytest.raises(OSError, match="what it holds is safe"):
        journal.add_record(ToyRow(1, 1.0))

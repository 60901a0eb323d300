"""A journal: every record is safe, and damage is what tests/contracts has."""

import json
import math
from pathlib import Path

import pytest

from tests.asvit.toy_run import IMAGES, ToyJournal, ToyRow, ToySettings

SETTINGS = ToySettings("x")
START = {"images": IMAGES, "device": "cpu", "versions": {"torch": "2.15.0"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = ToyJournal(tmp_path / "toy.jsonl")
    journal.start(SETTINGS, **START)
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


def test_a_later_start_replaces_the_earlier(path: Path) -> None:
    larger = ToySettings("x", steps=9)
    ToyJournal(path).start(larger, **START)
    assert ToyJournal(path).settings == larger
    assert len(ToyJournal(path).records) == 1


def test_a_record_cut_short_at_any_byte_is_dropped(path: Path) -> None:
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in (*range(0, len(whole), 4), first - 1, first, first + 1):
        path.write_bytes(whole[:end])
        journal = ToyJournal(path)
        assert journal.records == []
        assert (journal.settings is None) == (end < first)
        journal.start(SETTINGS, **START)
        journal.add_record(ToyRow(0, 1.0))
        assert ToyJournal(path).records == [ToyRow(0, 1.0)]


def test_a_journal_of_another_version_is_refused_and_left_alone(path: Path) -> None:
    whole = path.read_bytes()
    older, newer, less = (
        whole.replace(before, after)
        for before, after in (
            (b'"schema_version":1', b'"schema_version":0'),
            (b'"schema_version":1', b'"schema_version":2'),
            (b',"versions":{"torch":"2.15.0"}', b""),
        )
    )
    for content, words in (
        (older, "line 1 .*: kind 'toy', schema 0; another version of asvit may have written it"),
        (newer, "line 1 .*: kind 'toy', schema 2; another version of asvit may have written it"),
        (less, "line 1 is not a record of a toy: it has no 'versions'"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=words) as caught:
            ToyJournal(path)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == content


def test_what_is_above_a_damaged_line_is_gone_on_from_once_the_rest_is_deleted(path: Path) -> None:
    ToyJournal(path).add_record(ToyRow(1, 1.0))
    first, second, third = path.read_bytes().splitlines(keepends=True)
    lines = [first, second, third.replace(b'"value"', b'"other"'), third]
    path.write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=r"line 3 is not .*; restore .*, delete that line and"):
        ToyJournal(path)
    path.write_bytes(b"".join(lines[:2]))
    assert repr(ToyJournal(path).records) == repr([ToyRow(0, math.nan)])
    lines[0] = lines[0].replace(b"settings", b"choices")
    path.write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=r"line 1 is not .*; restore it from a copy, or give"):
        ToyJournal(path)


def test_nan_is_not_written_but_as_null(path: Path) -> None:
    assert b'"value":null' in path.read_bytes()
    assert math.isnan(ToyJournal(path).records[0].value)

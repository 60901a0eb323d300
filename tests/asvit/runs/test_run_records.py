"""The records of a run: every one is safe, and a damaged one is named."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from asvit.runs.run_folder import RunFolder
from tests.asvit.toy_run import IMAGES, TOY, ToyRow, ToySettings

START = {"images": IMAGES, "device": "cpu"}


def opened(folder: Path, **given: Any) -> RunFolder[Any, Any]:
    run = TOY.make(name="x", out=folder, **given)
    run.read()
    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    run = opened(tmp_path)
    run.begin(**START)
    run.add(ToyRow(0, math.nan))
    return tmp_path / "run.jsonl"


def test_what_was_stored_is_read_back(path: Path) -> None:
    run = opened(path.parent)
    assert run.start is not None
    assert (run.start.settings, run.start.values) == (ToySettings("x"), START)
    assert repr(run.records) == repr([ToyRow(0, math.nan)])
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    new = opened(path.parent / "new")
    assert (new.start, new.records) == (None, [])


def test_a_later_start_replaces_the_earlier(path: Path) -> None:
    opened(path.parent, steps=9).begin(**START)
    run = opened(path.parent)
    assert run.start is not None
    assert run.start.settings == ToySettings("x", steps=9)
    assert len(run.records) == 1


def test_a_record_cut_short_at_any_byte_is_dropped(path: Path) -> None:
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in (*range(0, len(whole), 4), first - 1, first, first + 1):
        path.write_bytes(whole[:end])
        run = opened(path.parent)
        assert run.records == []
        assert (run.start is None) == (end < first)
        run.begin(**START)
        run.add(ToyRow(0, 1.0))
        assert opened(path.parent).records == [ToyRow(0, 1.0)]


@pytest.mark.parametrize("version", [0, 2])
def test_records_of_another_version_are_refused_and_left_alone(path: Path, version: int) -> None:
    content = path.read_bytes().replace(b'"schema_version":1', b'"schema_version":%d' % version)
    path.write_bytes(content)
    words = f"line 1 .*: kind 'toy', schema {version}; another version of asvit may have written"
    with pytest.raises(ValueError, match=words):
        opened(path.parent)
    assert path.read_bytes() == content


def test_what_is_above_a_damaged_line_is_gone_on_from_once_the_rest_is_deleted(path: Path) -> None:
    opened(path.parent).add(ToyRow(1, 1.0))
    first, second, third = path.read_bytes().splitlines(keepends=True)
    lines = [first, second, third.replace(b'"value"', b'"other"'), third]
    path.write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=r"line 3 is not .*; restore .*, delete that line and"):
        opened(path.parent)
    path.write_bytes(b"".join(lines[:2]))
    assert repr(opened(path.parent).records) == repr([ToyRow(0, math.nan)])
    lines[0] = lines[0].replace(b"settings", b"choices")
    path.write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=r"line 1 is not .*; restore it from a copy, or give"):
        opened(path.parent)


def test_records_without_the_settings_of_their_run_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    with pytest.raises(ValueError, match=r"line 1 is not .*: it comes before the settings"):
        opened(path.parent)

"""Records that survive a kill, and files that hold something else."""

import math
from pathlib import Path
from typing import Any

import pytest

from asvit.core.codec import finite
from asvit.core.records import append_record, number, read_records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.jsonl"


def read(path: Path) -> list[Any]:
    found: list[Any] = []
    read_records(path, lambda record: found.append(record["a"]), what="a test")
    return found


def test_records_come_back_in_order(path: Path) -> None:
    assert read(path) == []
    for value in (1, None, "µ\n"):
        append_record(path, {"a": value})
    assert read(path) == [1, None, "µ\n"]
    assert path.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("cut", range(1, 9))
def test_an_unfinished_last_record_is_cut_off(
    path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    append_record(path, {"a": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-cut])
    caplog.set_level("WARNING")
    assert read(path) == [1]
    assert path.read_bytes() == whole
    assert bool(caplog.records) == (cut < len(whole))


@pytest.mark.parametrize("line", ["{", "[1]", '{"b": 1}', "", "\0\0", "[" * 99_999])
def test_a_line_that_is_no_record_is_named_and_nothing_is_changed(path: Path, line: str) -> None:
    append_record(path, {"a": 1})
    with path.open("a") as file:
        file.write(line + "\n" + '{"a":')
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"records\.jsonl, line 2 is not a record of a test; "):
        read(path)
    assert path.read_bytes() == before


def test_a_journal_that_cannot_be_written_says_what_is_safe(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="what it holds is safe"):
        append_record(tmp_path, {"a": 1})


def test_nan_is_none_in_a_record(path: Path) -> None:
    assert finite(1.5) == 1.5
    assert finite(math.nan) is finite(math.inf) is None
    assert math.isnan(number(None))
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_record(path, {"a": math.nan})
    assert not path.exists()


def test_a_file_that_was_removed_is_not_made_again_without_its_start(path: Path) -> None:
    append_record(path, {"a": 1})
    append_record(path, {"a": 2}, started=True)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="the journal was removed while the run went on"):
        append_record(path, {"a": 3}, started=True)
    assert not path.exists()

import json
import math
from pathlib import Path

import pytest

from asvit.growth import Journal, ScaleSettings
from proxies import Score
from scaling import Shape

SETTINGS = ScaleSettings("8,2,3|4,1,2|4,1,4|4,1,6|32")
IMAGES = {"source": "fractal", "digest": "abc"}
SHAPE = Shape((1, 2, 1, 1), 8)
SCORES = {
    "length_distortion": Score(1 / 3, 0.1, (0.25, 5 / 12), "higher"),
    "ntk_condition_number": Score(math.nan, math.nan, (7.0, math.nan), "lower", "it is singular"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "measured.jsonl")
    journal.start(SETTINGS, IMAGES, "cpu")
    journal[SHAPE] = SCORES
    return tmp_path / "measured.jsonl"


def test_what_was_measured_is_read_back_exactly(path: Path) -> None:
    journal = Journal(path)
    assert (journal.settings, journal.images, journal.device) == (SETTINGS, IMAGES, "cpu")
    assert str(journal.get(SHAPE)) == str(SCORES)  # NaN is not equal to itself, but looks it
    assert journal.get(Shape((9, 9, 9, 9), 8)) is None
    assert len(journal) == 1


def test_every_line_is_strict_json(path: Path) -> None:
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_the_same_start_is_kept_once_and_another_one_replaces_it(path: Path) -> None:
    before = path.read_bytes()
    Journal(path).start(SETTINGS, IMAGES, "cpu")
    assert path.read_bytes() == before
    larger = ScaleSettings(SETTINGS.architecture, budgets="90M")
    Journal(path).start(larger, IMAGES, "cpu")
    assert Journal(path).settings == larger
    assert Journal(path).images == IMAGES
    assert len(Journal(path)) == 1


def test_the_time_of_all_sessions_adds_up(path: Path) -> None:
    lines = path.read_text().splitlines()
    record = {**json.loads(lines[1]), "seconds": 60.0}
    path.write_text(lines[0] + "\n" + json.dumps(record) + "\n")
    journal = Journal(path)
    assert journal.elapsed >= 60.0
    journal[Shape((2, 2, 2, 2), 8)] = SCORES
    assert Journal(path).seconds >= 60.0


def test_a_record_cut_short_at_any_byte_is_dropped(path: Path) -> None:
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        journal = Journal(path)
        assert len(journal) == 0
        assert (journal.settings is None) == (end < first)
        journal.start(SETTINGS, IMAGES, "cpu")
        journal[SHAPE] = SCORES
        assert str(Journal(path).get(SHAPE)) == str(SCORES)


@pytest.mark.parametrize(
    "line", ["{", "[]", "{}", "null", '{"settings": {}}', '{"depths": 3}', ""]
)
def test_damage_anywhere_else_is_refused_and_left_alone(path: Path, line: str) -> None:
    content = path.read_text()
    start, measured = content.splitlines()
    broken = f"{start}\n{line}\n{measured}\n"
    path.write_text(broken)
    with pytest.raises(ValueError, match=r"measured\.jsonl, line 2 is not a record of a scaling"):
        Journal(path)
    assert path.read_text() == broken


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    path.write_text(path.read_text().replace('"schema_version":1', '"schema_version":2'))
    with pytest.raises(ValueError, match="line 1"):
        Journal(path)


def test_a_disk_that_refuses_is_told(path: Path) -> None:
    journal = Journal(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="what it holds is safe"):
        journal[SHAPE] = SCORES

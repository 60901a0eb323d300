"""The journal of a table: kept as a whole or not at all, and read as it was written."""

import json
import math
from pathlib import Path

import pytest

from asvit.reference.build_settings import BuildSettings
from asvit.reference.journal import Outcome, Training, TrainingJournal

SETTINGS = BuildSettings.make("quick")
IMAGES = {"source": "some", "digest": "0" * 64}
FAILED = Outcome(math.nan, math.nan, 1.5, "the loss became nan in step 3")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = TrainingJournal(tmp_path / "trainings.jsonl")
    journal.start(SETTINGS, images=IMAGES, num_classes=10, device="cpu")
    journal.add(Training("a", 0), Outcome(50.125, 1.25, 2.0))
    journal.add(Training("a", 1), FAILED)
    return tmp_path / "trainings.jsonl"


def test_it_is_read_as_it_was_written(path: Path) -> None:
    journal = TrainingJournal(path)
    assert (journal.settings, journal.images) == (SETTINGS, IMAGES)
    assert (journal.num_classes, journal.device) == (10, "cpu")
    assert journal.outcomes[Training("a", 0)] == Outcome(50.125, 1.25, 2.0)
    assert repr(journal.outcomes[Training("a", 1)]) == repr(FAILED)
    assert len(journal.outcomes) == 2


def test_starting_alike_again_writes_nothing(path: Path) -> None:
    before = path.read_bytes()
    TrainingJournal(path).start(SETTINGS, images=IMAGES, num_classes=10, device="cpu")
    assert path.read_bytes() == before


def test_the_times_of_sessions_add_up(path: Path) -> None:
    lines = path.read_text().splitlines()
    last = json.loads(lines[-1])
    path.write_text("\n".join([*lines[:-1], json.dumps({**last, "elapsed": 100.0})]) + "\n")
    journal = TrainingJournal(path)
    assert journal.seconds == 100
    journal.add(Training("b", 0), FAILED)
    assert 100 <= journal.seconds < 160
    assert TrainingJournal(path).seconds == journal.seconds


@pytest.mark.parametrize("cut", [1, 20])
def test_an_unfinished_record_is_cut_off(
    path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    journal = TrainingJournal(path)
    assert list(journal.outcomes) == [Training("a", 0)]
    assert "of an unfinished record at the end of" in caplog.text
    assert path.read_bytes() == b"".join(content.splitlines(keepends=True)[:2])


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "{}",
        '{"architecture":"a","seed":0}',
        '{"schema_version":2,"kind":"reference","settings":{}}',
        '{"schema_version":1,"kind":"scale","settings":{}}',
        '{"schema_version":1,"kind":"reference","settings":{"strange":1}}',
    ],
)
def test_a_line_that_is_no_record_is_named_and_nothing_changed(path: Path, line: str) -> None:
    path.write_text(f"{path.read_text()}{line}\n")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"trainings.jsonl, line 4 is not a record of a ref"):
        TrainingJournal(path)
    assert path.read_bytes() == before


def test_what_cannot_be_written_says_that_the_rest_is_safe(path: Path) -> None:
    journal = TrainingJournal(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="what it holds is safe, and the same command continues"):
        journal.add(Training("c", 0), FAILED)
    assert Training("c", 0) not in journal.outcomes

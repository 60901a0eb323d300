"""What each kind of run makes of its journal; tests/asvit/core has what is common to all."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asvit.core.journal import Journal
from asvit.core.settings import Settings
from asvit.growth import GrowthJournal, ScaleSettings
from asvit.reference.build import Outcome, Training, TrainingJournal
from asvit.reference.build_settings import BuildSettings
from asvit.search.supernet_result import AccuracyJournal
from asvit.search.supernet_settings import EvolutionSettings
from proxies import Score
from scaling import Shape

IMAGES = {"source": "fractals", "digest": "0" * 64}
VERSIONS = {"torch": "2.15.0", "timm": "1.0.27"}
SCORE = Score(1 / 3, 0.1, (0.25, 5 / 12), "higher")
FAILED = Outcome(math.nan, math.nan, 1.5, "the loss became nan in step 3")


@dataclass(frozen=True)
class Kind:
    """A journal, what its run is started with, and how a record is added and looked up."""

    journal: Callable[[Path], Journal[Any]]
    settings: Settings
    values: dict[str, Any]
    add: Callable[[Any, int], object]
    has: Callable[[Any, int], bool]
    noun: str


KINDS = {
    "scaling": Kind(
        GrowthJournal,
        ScaleSettings("8,2,3|4,1,2|4,1,4|4,1,6|32"),
        {"images": IMAGES, "device": "cpu", "versions": VERSIONS},
        lambda journal, at: journal.__setitem__(Shape((at,), 8), {"params": SCORE}),
        lambda journal, at: journal.get(Shape((at,), 8)) is not None,
        "a scaling",
    ),
    "reference table": Kind(
        TrainingJournal,
        BuildSettings(),
        {"images": IMAGES, "num_classes": 10, "device": "cpu", "versions": VERSIONS},
        lambda journal, at: journal.add(Training("a", at), FAILED),
        lambda journal, at: repr(journal.outcomes.get(Training("a", at))) == repr(FAILED),
        "a reference table",
    ),
    "evolution": Kind(
        AccuracyJournal,
        EvolutionSettings(),
        {"supernet": {"folder": "runs/a", "digest": "d"}, "device": "cpu", "versions": VERSIONS},
        lambda journal, at: journal.add("test", ("b" * at,), 1 / 3),
        lambda journal, at: journal.get("test", ("b" * at,)) is not None,
        "an evolution",
    ),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def path(kind: Kind, tmp_path: Path) -> Path:
    """A journal with two records."""
    journal = kind.journal(tmp_path / "journal.jsonl")
    assert (journal.settings, journal.start_values) == (None, {})
    journal.start(kind.settings, **kind.values)
    for at in (1, 2):
        kind.add(journal, at)
    return tmp_path / "journal.jsonl"


def test_it_is_read_as_it_was_written(kind: Kind, path: Path) -> None:
    journal = kind.journal(path)
    assert (journal.settings, journal.start_values) == (kind.settings, kind.values)
    assert [kind.has(journal, at) for at in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize("line", ["{}", '{"architecture":"a","seed":0}', '{"part": "test"}'])
def test_a_line_that_is_no_record_is_named_and_nothing_changed(
    kind: Kind, path: Path, line: str
) -> None:
    path.write_text(f"{path.read_text()}{line}\n")
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=rf"line 4 is not a record of {kind.noun}: .*; restore it"
    ):
        kind.journal(path)
    assert path.read_bytes() == before


def test_what_cannot_be_written_says_that_the_rest_is_safe(kind: Kind, path: Path) -> None:
    journal = kind.journal(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="what it holds is safe, and the same command continues"):
        kind.add(journal, 3)
    assert not kind.has(journal, 3)

"""The campaign of changes to designs: a small form of it, and that it notices what it is for."""

import random
from pathlib import Path

import pytest

from tests.campaigns import forked, tamper_designs
from tests.campaigns.tamper_designs import (
    CASES,
    IN_TRAINING,
    NAMED,
    REFUSED,
    SAME,
    STOPS,
    WRONG,
    Campaign,
    Case,
    Place,
)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return Campaign(tmp_path_factory.mktemp("tampered"))


@pytest.mark.parametrize(
    ("name", "stop", "outcome"),
    [
        ("rows: all trained are tested", "hand-made", REFUSED),
        ("trained pictures: a bit flipped", IN_TRAINING, REFUSED),
        ("tested pictures: deleted", "hand-made", NAMED),
        ("places: both moved", IN_TRAINING, SAME),
    ],
)
def test_a_small_campaign(campaign: Campaign, name: str, stop: str, outcome: str) -> None:
    case = next(one for one in CASES if one.name == name)
    assert stop in case.stops
    assert campaign.try_out(case, stop) == outcome
    assert campaign.wrong == []


def test_equal_pictures(campaign: Campaign) -> None:
    assert campaign.copies("copies: in two classes") == NAMED


def test_numbers_that_differ_without_a_word_are_wrong(
    campaign: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "wrong", [])
    monkeypatch.setattr(campaign, "counts", {})
    monkeypatch.setattr(campaign, "_folder", tmp_path)
    (tmp_path / "copies" / "test").mkdir(parents=True)
    monkeypatch.setattr(forked, "run", lambda *_, **__: 0)
    monkeypatch.setattr(campaign, "_reference", {"test_pictures": 9, "training": 1})
    monkeypatch.setattr(tamper_designs, "numbers", lambda _: {"test_pictures": 9, "training": 2})
    case = Case("nothing", lambda _: None, frozenset({REFUSED, NAMED, SAME}))
    assert campaign.try_out(case, "test").startswith(WRONG)
    assert "nothing, test: WRONG: other numbers without a word" in campaign.wrong[-1]
    monkeypatch.setattr(forked, "run", lambda *_, **__: 1)
    assert campaign.try_out(case, "test").startswith(f"{WRONG}: ended with 1")
    assert campaign.counts == {"nothing": {WRONG: 2}}


def test_every_case_is_for_a_stop_that_there_is() -> None:
    for case in CASES:
        assert set(case.stops) <= set(STOPS), case.name
    assert len({case.name for case in CASES}) == len(CASES)
    assert Place(Path(), random.Random(0)).words()[:3] == ["design", "--data", "pictures"]


def test_no_file_of_a_design_has_an_absolute_path(campaign: Campaign) -> None:
    whole = campaign._folder / "whole"
    files = [path for path in (whole / "run").rglob("*") if path.is_file()]
    assert {"predictions.json", "images.csv", "report.html"} <= {path.name for path in files}
    assert [path for path in files if str(whole).encode() in path.read_bytes()] == []

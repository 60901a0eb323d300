"""Settings of an evolution, and the journal of its accuracies."""

from pathlib import Path
from typing import Any

import pytest

from asvit.search.supernet_journal import Journal
from asvit.search.supernet_settings import PRESETS, EvolutionSettings, make_settings

WHAT = {"folder": "runs/a", "digest": "d"}
A, B = ("bs----", "------", "------"), ("------", "b-----", "------")

RETRAINED = {"accuracy": 60.0, "loss": 1.0, "seconds": 2.0, "reason": ""}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_settings_that_survive_json(preset: str) -> None:
    settings = make_settings(preset)
    assert EvolutionSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"population": 0}, "population must be at least 1, got 0"),
        ({"max_macs": 0}, "max_macs must be at least 1, got 0"),
        ({"min_macs": 10, "max_macs": 9}, "max_macs must be at least 10, got 9"),
        ({"mutation_probability": 1.1}, "mutation_probability must be from 0 to 1, got 1.1"),
        ({"mutation_probability": True}, "mutation_probability must be from 0 to 1, got True"),
        ({"population": 49}, "25 crossovers and 25 mutations do not fit in a population of 49"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_settings(**given)


def test_a_journal_gives_back_what_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "accuracies.jsonl"
    journal = Journal(path)
    assert journal.settings is None
    journal.start(make_settings(), WHAT, "cpu")
    journal.start(make_settings(), WHAT, "cpu")  # says nothing new
    journal.add("validation", A, 1 / 3)
    journal.add("test", A, 50.0)
    journal.add_retrained(RETRAINED)
    assert len(path.read_text().splitlines()) == 4
    again = Journal(path)
    assert (again.settings, again.supernet, again.device) == (make_settings(), WHAT, "cpu")
    assert (again.get("validation", A), again.get("test", A)) == (1 / 3, 50.0)
    assert again.get("validation", B) is None
    assert again.retrained == RETRAINED
    assert again.seconds == journal.seconds > 0
    assert len(again) == 2


def test_what_an_extended_run_retrained_is_another_winner_perhaps(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "accuracies.jsonl")
    journal.start(make_settings(), WHAT, "cpu")
    journal.add_retrained(RETRAINED)
    journal.start(make_settings(generations=21), WHAT, "cpu")
    assert journal.retrained is None
    assert Journal(tmp_path / "accuracies.jsonl").retrained is None


def test_a_record_cut_short_is_cut_off_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "accuracies.jsonl"
    journal = Journal(path)
    journal.start(make_settings(), WHAT, "cpu")
    journal.add("validation", A, 10.0)
    whole = path.read_bytes()
    journal.add("validation", B, 20.0)
    path.write_bytes(path.read_bytes()[:-7])
    assert Journal(path).get("validation", B) is None
    assert path.read_bytes() == whole
    path.write_bytes(whole + b'{"part": "test"}\n')
    with pytest.raises(ValueError, match=r"line 3 is not a record of an evolution; restore it"):
        Journal(path)

"""The journal of the accuracies of an evolution."""

from pathlib import Path

from asvit.search.supernet_result import AccuracyJournal, Retrained
from asvit.search.supernet_settings import EvolutionSettings

WHAT = {"folder": "runs/a", "digest": "d"}
A, B = ("bs----", "------", "------"), ("------", "b-----", "------")

RETRAINED = Retrained(60.0, 1.0, 2.0, "", "psvit2d:b-----|------|------|6")


def test_a_journal_gives_back_what_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "accuracies.jsonl"
    journal = AccuracyJournal(path)
    assert journal.settings is None
    journal.start(EvolutionSettings(), supernet=WHAT, device="cpu")
    journal.start(EvolutionSettings(), supernet=WHAT, device="cpu")  # says nothing new
    journal.add("validation", A, 1 / 3)
    journal.add("test", A, 50.0)
    journal.add_retrained(RETRAINED)
    assert len(path.read_text().splitlines()) == 4
    again = AccuracyJournal(path)
    assert (again.settings, again.supernet, again.device) == (EvolutionSettings(), WHAT, "cpu")
    assert (again.get("validation", A), again.get("test", A)) == (1 / 3, 50.0)
    assert again.get("validation", B) is None
    assert again.retrained == RETRAINED
    assert again.seconds == journal.seconds > 0
    assert len(again) == 2


def test_what_an_extended_run_retrained_is_another_winner_perhaps(tmp_path: Path) -> None:
    journal = AccuracyJournal(tmp_path / "accuracies.jsonl")
    journal.start(EvolutionSettings(), supernet=WHAT, device="cpu")
    journal.add_retrained(RETRAINED)
    journal.start(EvolutionSettings(generations=21), supernet=WHAT, device="cpu")
    assert journal.retrained is None
    assert AccuracyJournal(tmp_path / "accuracies.jsonl").retrained is None

"""Comparisons run, at their smallest; tables that come with asvit are made."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest
from run_script import read_rows
from scipy import stats

import asvit
from experiments import (
    compare_designs,
    compare_outcomes,
    kinds,
)
from experiments.kinds import Row as TrainedRow


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be trained; the accuracies are made up."""
    trained: list[Any] = []

    class Trainer:
        def __init__(self, *_settings: object) -> None: ...

        def __call__(self, training: Any) -> SimpleNamespace:
            trained.append(training)
            return SimpleNamespace(accuracy=50.0 + crc32(repr(training).encode()) % 30)

    monkeypatch.setattr(compare_outcomes, "CandidateTrainer", Trainer)
    return trained


def test_outcomes_are_trained_once_each_and_kept(
    monkeypatch: pytest.MonkeyPatch, trained: list[Any]
) -> None:
    def searched(*, controller: str, seed: int, steps: int, **_: Any) -> SimpleNamespace:
        assert steps == 7
        likeliest = SimpleNamespace(
            likeliest=True, architecture=f"8,2,3|4,1,2|4,1,4|4,1,{seed + 2}|32"
        )
        other = SimpleNamespace(
            likeliest=False, architecture=f"5,2,3|4,1,2|4,1,4|4,1,{seed + 2}|32"
        )
        # Seed 0 hands the policy's own on, so that one training serves both kinds.
        best = likeliest if (controller, seed) == ("reinforce", 0) else other
        return SimpleNamespace(seed_architecture=best.architecture, finalists=[likeliest, other])

    monkeypatch.setattr(asvit, "run_search", searched, raising=False)
    monkeypatch.setattr(compare_outcomes, "STEPS", 7)
    for name, value in (("SEARCHES", 2), ("DRAWS", 2), ("TABLE", Path("table.csv"))):
        monkeypatch.setattr(compare_outcomes, name, value)
    study = compare_outcomes.study()
    study.run(chosen=[case for case in study.cases if not case["training"]])
    monkeypatch.setattr(asvit, "run_search", None)  # the table has what the searches found
    found = study.run()
    rows = read_rows("table.csv")
    assert len(rows) == 3 * (3 * 2 + 1 + 2)
    assert {row["architecture"].rpartition(",")[2] for row in rows} == {"16"}
    assert (
        len(trained)
        == len(set(trained))
        == len({(r["architecture"], r["training"]) for r in rows})
    )
    assert compare_outcomes.study().run() == found
    assert len(trained) == len(set(trained))  # nothing is trained again
    assert "| measured again than policy's likeliest | " in compare_outcomes.tables(found)


def rows_of(kind: str, *accuracies: tuple[float, ...], text: str = "") -> list[TrainedRow]:
    """A row for each training, by architecture."""
    return [
        TrainedRow(kind, search, text or f"{kind} {search}", training, accuracy)
        for search, own in enumerate(accuracies)
        for training, accuracy in enumerate(own)
    ]


def test_differences_of_outcomes_are_within_pairs_and_seeds() -> None:
    policy, picked = compare_outcomes.POLICY, compare_outcomes.PICKED
    rows = [*rows_of(policy, (50, 50), (70, 70)), *rows_of(picked, (53, 53), (73, 73))]
    difference = kinds.difference(rows, [(picked, policy)], paired=(picked, policy))
    assert difference.value == 3
    assert all(map(math.isnan, difference.interval))  # which equal differences do not tell
    apart = [*rows_of(policy, (50, 50), (70, 70)), *rows_of(picked, (53, 53), (75, 75))]
    difference = kinds.difference(apart, [(picked, policy)], paired=(picked, policy))
    away = stats.t.ppf(0.975, 1)  # of 3 and 5, whose standard error is 1
    assert (difference.value, *difference.interval) == pytest.approx((4, 4 - away, 4 + away))
    random = kinds.RANDOM
    rows += rows_of(random, (50, 50), (70, 70))
    difference = kinds.difference(rows, [(picked, random)])  # of no pairs: Welch's
    away = stats.t.ppf(0.975, 2) * math.sqrt(200)
    assert difference.value == 3
    assert difference.interval == pytest.approx((3 - away, 3 + away))
    both = kinds.difference(rows, [(picked, policy), (random, policy)], paired=(picked, policy))
    assert both.value == 1.5
    noisy = [*rows_of(policy, (50, 60)), *rows_of(picked, (50, 60))]
    difference = kinds.difference(noisy, [(picked, policy)])  # of their trainings
    away = stats.t.ppf(0.975, 2) * math.sqrt(50)
    assert difference.interval == pytest.approx((-away, away))


def test_a_network_that_several_growths_end_in_counts_once() -> None:
    rows = rows_of("grown", *[(87.0, 90.0)] * 3, text="same")
    assert kinds.values_of(rows, "grown") == [87.0, 90.0]
    rows.append(TrainedRow("grown", 3, "other", 0, 80.0))
    assert kinds.values_of(rows, "grown") == [88.5, 80.0]


def test_the_best_drawn_is_judged_by_its_other_trainings() -> None:
    outcomes = rows_of(compare_designs.AT_CAP, (90, 92), (88, 90))
    drawn = rows_of("random", (70, 70, 70), (85, 85, 85), (60, 60, 60))
    mean, apart = compare_designs.than_best_drawn(outcomes + drawn)
    assert (mean, apart.value) == (85.0, 5.0)
    # Each draw is lucky once: by its lucky training it is picked, by the others it is judged.
    drawn = rows_of("random", *[(95, 80, 80)] * 30)
    mean, _ = compare_designs.than_best_drawn(outcomes + drawn)
    assert 80.0 <= mean < 80.5

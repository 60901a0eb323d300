"""The hours of a design: what its search, its last round and its trainings have of them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asvit.designs import fitting, fractals
from asvit.designs.hours import SHARES
from asvit.runs.algorithms import design_search
from asvit.runs.designing import design
from asvit.spaces import cost
from tests.asvit.runs.designing_fakes import (
    SPACE,
    Fakes,
    entry,
    last_round,
    picture_facts,
    plan_of,
    results_in,
)


@pytest.mark.parametrize(("hours", "races"), [(1.0, False), (30.0, True), (None, True)])
@pytest.mark.parametrize("few", [10, 2_000])  # weights of fractals for as many, or fewer
def test_networks_race_only_where_a_last_round_tells_how_they_will_end(
    hours: float | None,
    races: bool,
    few: int,
    pictures: Path,
    tmp_path: Path,
    fakes: Fakes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fractals, "FRACTALS_BELOW", few)
    options = {"max_params": "300K", "space": "resnet,asvit", "image_size": 64}
    result = design(pictures, hours=hours, out=tmp_path, **options)
    warm = few == 2_000
    assert ("search" in fakes.calls) == ("finalist-1" in fakes.calls) == races
    assert len(result.last_round) == 3 * races
    assert (result.fractals > 0) == (warm and (not races or result.family == "resnet"))
    if races:
        return
    (only,) = result.race
    assert (only.round, only.chosen, only.by_hand) == ("none", True, True)
    assert result.family == only.family == "resnet"
    assert "too little time to choose" in result.outcome
    assert result.hand_made is not None
    assert (result.hand_made.architecture, result.difference) == (result.architecture, None)
    assert (result.accuracy, result.test_pictures) == (100.0, 4)
    training = fakes.trained["training"]
    weights = str(tmp_path / "finalist-1-fractals") if warm else None
    assert (training.weights, training.architecture) == (weights, result.architecture)
    assert [name for name in fakes.trained if name != "training"] == (
        ["finalist-1-fractals"] if warm else []
    )
    assert 0.6 < (training.hours or 0) < 1.0
    assert len(result.commands) == 5 + warm
    page = (tmp_path / "report.html").read_text()
    assert "The race" not in page
    assert ("fractal" in page) == warm


def test_little_time_makes_smaller_networks_and_shorter_trainings(
    pictures: Path, tmp_path: Path, race: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[int] = []

    def estimate(settings: Any, *_: object) -> float:
        trainings.append(settings.trainings)
        return 1_000.0

    monkeypatch.setattr(design_search, "training_seconds", estimate)
    options = {"max_params": "9M", "hours": 0.05, "image_size": 64, "space": SPACE}
    result = design(pictures, out=tmp_path, **options)
    plan = results_in(tmp_path).plan
    share = SHARES["search"] * 180 / 1_000
    assert plan.trainings == 5
    assert set(trainings) == {24}
    assert plan.training_steps == round(1_400 * share * 24 / 5)
    assert result.params < 4_000_000  # as wide as allowed it would be 9 M
    training = race.trained["training"]
    assert 100 / 3600 < (training.hours or 0) < SHARES["training"] * 180 / 3600 * 1.2
    assert training.epochs == 3_000  # at most
    assert result.epochs == 1  # of the training that stands for it


def test_finalists_are_trained_equally_long_where_time_is_short(
    pictures: Path, tmp_path: Path, race: Fakes
) -> None:
    options = {"max_params": "200K", "hours": 0.1, "image_size": 64, "space": SPACE}
    result = design(pictures, out=tmp_path, **options)
    networks, lengths = results_in(tmp_path).finalists.networks, results_in(tmp_path).epochs
    assert len(networks) == len(result.last_round) == 3
    share = SHARES["last round"] / (SHARES["last round"] + SHARES["training"])
    for place, network in enumerate(networks, 1):
        trained = race.trained[f"finalist-{place}"]
        seconds = 3600 * (trained.hours or math.inf)
        assert seconds == pytest.approx(share * 330 / 3, rel=0.02)
        assert trained.train_images is None
        whole = trained.epochs * cost(network.architecture, 64, 2).macs / 1e6
        assert lengths.seconds[f"finalist-{place}"] == pytest.approx(min(seconds, whole))
    assert [racer.epochs for racer in result.last_round] == [1, 1, 1]  # of the fakes


@pytest.mark.parametrize(
    ("how", "few", "warm"),
    [
        ("auto", 2_000, ["finalist-2"]),
        ("auto", 10, []),
        ("fractals", 10, ["finalist-1", "finalist-2", "finalist-3"]),
        ("none", 2_000, []),
    ],
)
def test_a_resnet_learns_few_pictures_from_weights_of_fractals(
    how: str,
    few: int,
    warm: list[str],
    pictures: Path,
    tmp_path: Path,
    fakes: Fakes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fractals, "FRACTALS_BELOW", few)
    fakes.validation = {"finalist-2": 99.0}
    result = design(
        pictures, max_params="300K", space="resnet,asvit", warm_start=how, out=tmp_path
    )
    last = [racer.family for racer in result.race if racer.round == "last"]
    assert last == ["asvit", "resnet", "asvit"]
    for name in ("finalist-1", "finalist-2", "finalist-3"):
        before = f"{name}-fractals"
        assert (before in fakes.trained) == (name in warm)
        if name not in warm:
            assert fakes.trained[name].weights is None
            continue
        assert fakes.calls.index(before) < fakes.calls.index(name)
        first, then = fakes.trained[before], fakes.trained[name]
        assert (first.data, first.train_images, first.epochs) == ("fractal:100", 8_000, 20)
        assert (first.weights, first.architecture) == (None, then.architecture)
        assert (then.weights, then.new_head) == (str(tmp_path / before), True)
        seconds = results_in(tmp_path).epochs.seconds
        macs = cost(then.architecture, then.image_size, 2).macs
        whole = fitting.enough_epochs(10) * macs / 1e6
        assert seconds[name] == pytest.approx(whole + 8_000 * 20 / 10)  # images a second
    assert result.family == "resnet"
    assert result.fractals == (20 if warm else 0)
    assert len([c for c in result.commands if "fractal:100" in c]) == len(warm)
    assert ("began with weights" in (tmp_path / "report.html").read_text()) == bool(warm)


def test_the_final_training_has_the_time_that_is_left(tmp_path: Path) -> None:
    networks = [entry("resnet"), entry("deit")]
    results = last_round(picture_facts("ab", 5_000), networks, [0.0, 99.0])
    plan = plan_of(results, tmp_path, hours=0.1, image_size=32)
    epoch = 4_000 + 1_000 / 3  # images to train on that would take as long
    for name, speed in (("finalist-1", 1_083), ("finalist-2", 500)):
        results[name] = replace(results[name], epoch_seconds=epoch / speed)
    choice = plan.choice()
    assert choice.winner == "finalist-2"
    assert choice.epochs == -(-20_000 // 78)
    assert choice.seconds["training"] == 3600 * (choice.hours or 0) == pytest.approx(330)
    plan.settings = replace(plan.settings, hours=None)
    assert plan.choice().seconds["training"] / choice.epochs == pytest.approx(5_000 / 500)

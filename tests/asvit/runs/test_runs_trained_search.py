"""Searches that train: from settings to a folder, with trainings that take no time."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from asvit.executors import Workers
from asvit.reference import load_reference
from asvit.runs import reporting, training_pool
from asvit.runs.search import run_search
from asvit.search import Measurement, read_trials
from asvit.search.result import SearchResult
from asvit.training.short import Outcome, Training
from tests.asvit.runs.fakes import fake_trainings
from tests.asvit.search.ridge import quick_predictor

TINY: dict[str, Any] = {
    "space": "asvit-tiny", "controller": "predictor", "trainings": 20, "train_images": 12,
    "test_images": 6, "classes": 3, "width": 8, "device": "cpu",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    fake_trainings(monkeypatch.setattr)
    quick_predictor(monkeypatch.setattr)
    if "report" not in request.node.name:
        monkeypatch.setattr(reporting, "write_report", lambda *_: None)


def search(out: Path, **settings: Any) -> SearchResult:
    workers = None if "evaluate" in settings else Workers(jobs=1)  # the fakes are in this process
    return run_search(out=out, workers=workers, **{**TINY, **settings})


def test_a_run_folder_holds_the_accuracy_with_its_interval(tmp_path: Path) -> None:
    result = search(tmp_path, seed=5)
    content = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert content["trainings"] == content["steps"] + 4 == 20
    assert content["confirmed"].keys() == {"mean", "low", "high", "trainings"}
    assert content["confirmed"]["low"] < content["confirmed"]["mean"]
    assert content["predictor"]["tau_interval"][0] <= content["predictor"]["tau"]
    assert content["values"].keys() == {"accuracy"}
    best = result.finalists[0]
    assert result.seed_architecture == best.architecture
    assert result.confirmed == best.confirmed
    assert sum(one.trainings for one in result.finalists) <= 20
    assert SearchResult.read(tmp_path / "result.json").to_json() == result.to_json()
    trained = "--seed 5 --device cpu --classes 3 --train-images 12 --recipe small"
    assert result.next_command == f"asvit train {tmp_path} --image-size 32 {trained}"


def test_trials_have_the_accuracy_of_each_training(tmp_path: Path) -> None:
    result = search(tmp_path, seed=2)
    rows = read_trials(tmp_path / "trials.csv")
    assert len(rows) == 16  # the other four train finalists again
    assert {len(row.values) for row in rows} == {1}
    assert sum(row.state == "failed" for row in rows) == result.failures > 0
    failed = {row.architecture for row in rows if row.state == "failed"}
    assert not failed & {one.architecture for one in result.finalists}
    for one in result.finalists:
        own = [r.values["accuracy"] for r in rows if r.architecture == one.architecture]
        total = sum(own)
        if one.confirmed is not None:
            total += one.confirmed.mean * one.confirmed.trainings
            own += [one.confirmed.mean] * one.confirmed.trainings
        assert (one.trainings, one.values["accuracy"]) == (
            len(own),
            pytest.approx(total / len(own)),
        )


def test_two_finalists_are_trained_again_with_fresh_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Training] = []
    outcomes: dict[Training, Outcome] = {}
    train = training_pool.outcome_of

    def recorded(context: Any, training: Training) -> Outcome:
        asked.append(training)
        outcomes[training] = train(context, training)
        return outcomes[training]

    monkeypatch.setattr(training_pool, "outcome_of", recorded)
    result = search(tmp_path, seed=5)  # in which none of these fails
    drawn, again = asked[:16], asked[16:]
    assert {one.seed for one in drawn} & {one.seed for one in again} == set()
    assert len(again) == len(set(again)) == 4
    confirmed = [one for one in result.finalists if one.confirmed is not None]
    assert {f"{one.architecture},8" for one in confirmed} == {one.architecture for one in again}
    assert result.finalists[:2] == confirmed
    for one in confirmed:
        own = [
            outcome.accuracy
            for of, outcome in outcomes.items()
            if of in again and of.architecture == f"{one.architecture},8"
        ]
        assert one.confirmed.mean == pytest.approx(sum(own) / 2)


def test_the_trainings_are_a_reference_table(tmp_path: Path) -> None:
    search(tmp_path / "first")
    path = tmp_path / "first" / "trainings.csv"
    assert load_reference(path).accuracies["accuracy"]


def test_random_draws_with_several_seeds_make_a_table(tmp_path: Path) -> None:
    given: dict[str, Any] = {"controller": "random", "seeds": 2}
    search(tmp_path / "run", **given, trainings=13)
    result = search(tmp_path / "run", **given, trainings=14)  # goes on with the other seed
    drawn = [row.architecture for row in result.trials]
    assert drawn[::2] == drawn[1::2]
    assert result.retrainings == 0
    table = load_reference(tmp_path / "run" / "trainings.csv")
    assert len(table) == len(set(drawn)) > 5
    assert table.targets["accuracy"].noise_ceiling is not None
    alone = search(tmp_path / "alone", controller="random", trainings=5)
    assert len({row.architecture for row in alone.trials}) == 5


def test_any_controller_may_search_by_trainings_and_ends_in_the_best_mean(tmp_path: Path) -> None:
    result = search(tmp_path, controller="random", seed=1)
    rows = [row for row in read_trials(tmp_path / "trials.csv") if row.state == "complete"]
    best = sorted(rows, key=lambda row: row.values["accuracy"])[-2:]
    again = [one for one in result.finalists if one.confirmed is not None]
    assert {one.architecture for one in again} == {row.architecture for row in best}
    assert result.values["accuracy"] == max(one.values["accuracy"] for one in again)
    command = result.provenance["command"]
    assert "--trainings 20" in command
    assert "--controller random" in command


@pytest.mark.parametrize("controller", ["predictor", "evolution"])
def test_more_trainings_extend_a_search(tmp_path: Path, controller: str) -> None:
    search(tmp_path / "grown", controller=controller, trainings=10)
    grown = search(tmp_path / "grown", controller=controller)
    whole = search(tmp_path / "whole", controller=controller)
    names = ("trials.csv", "trainings.csv")
    assert [(tmp_path / "grown" / name).read_bytes() for name in names] == [
        (tmp_path / "whole" / name).read_bytes() for name in names
    ]
    assert grown.finalists == whole.finalists
    assert grown.predictor == whole.predictor or controller != "predictor"


def test_a_search_whose_trainings_all_fail_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvit.runs.training_pool.outcome_of", lambda *_: _failing())
    with pytest.raises(ValueError, match="all of the first 6 trainings failed; the last one, "):
        search(tmp_path / "few", trainings=6)
    with pytest.raises(ValueError, match="all of the first 10 trainings failed; the last one, "):
        search(tmp_path / "many")


def _failing() -> Any:
    return Outcome(math.nan, math.nan, 1.0, "the loss became nan in step 1")


def test_a_function_of_the_callers_may_train(tmp_path: Path) -> None:
    asked: list[str] = []

    def train(text: str) -> Measurement:
        asked.append(text)
        return Measurement(1, 2, {"accuracy": 50.0 + len(asked) % 7}, {})

    result = search(tmp_path, evaluate=train)
    assert len(asked) == result.steps + result.retrainings == 20
    assert search(tmp_path).to_json() == result.to_json()  # finished: without the function
    assert not (tmp_path / "trainings.csv").exists()

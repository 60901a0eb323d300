"""The controller with a predictor, behind Optuna's ask and tell."""

import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.study import Study
from optuna.trial import TrialState

from asvit.search import SearchSettings, get_controller
from asvit.search.sampler import distributions
from asvit.spaces import load_space
from tests.asvit.search.ridge import quick_predictor

SPACE = load_space("asvit-tiny")
DRAWN = distributions(SPACE.dimensions)
FIRST = 6  # trainings before the predictor is asked


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_predictor(monkeypatch.setattr, sampled=60, spread=64)


def make_study(**settings: Any) -> Study:
    study = optuna.create_study(direction="maximize")
    give_sampler(study, **settings)
    return study


def give_sampler(study: Study, **given: Any) -> None:
    settings = SearchSettings.make(space="asvit-tiny", controller="predictor", **given)
    make = get_controller("predictor").make
    study.sampler = make(SPACE.dimensions, {"accuracy": "higher"}, settings)


def accuracy(params: dict[str, Any]) -> float:
    """Higher with every larger choice."""
    return sum(choices.index(params[name]) for name, choices in SPACE.dimensions.items())


def go_on(study: Study, trainings: int, *, batch: int = 4) -> list[dict[str, Any]]:
    """Draw and train in batches."""
    drawn: list[dict[str, Any]] = []
    while len(drawn) < trainings:
        trials = [study.ask(DRAWN) for _ in range(batch)]
        for trial in trials:
            study.tell(trial, accuracy(trial.params))
        drawn += [trial.params for trial in trials]
    return drawn


def test_what_failed_is_not_tried_as_something_new() -> None:
    study = make_study(batch=1)
    best = sum(len(choices) - 1 for choices in SPACE.dimensions.values())
    drawn = []
    for _ in range(40):
        trial = study.ask(DRAWN)
        worth = accuracy(trial.params)
        failed = worth > 0.5 * best  # as if none had been worse: nothing tells that it is bad
        study.tell(trial, -math.inf if failed else worth)
        drawn.append((tuple(trial.params.values()), failed))
    failures = [params for params, failed in drawn if failed]
    assert len(failures) == len({*failures}) > 10


def test_a_search_that_is_killed_in_a_batch_goes_on_identically() -> None:
    expected = go_on(make_study(), 24)
    study, found = make_study(), go_on(make_study(), 0)
    while len(found) < 24:
        left = 4 - len(found) % 4
        trials = [study.ask(DRAWN) for _ in range(left)]
        study.tell(trials[0], accuracy(trials[0].params))
        found.append(trials[0].params)
        for trial in trials[1:]:  # killed in flight
            study.tell(trial, state=TrialState.FAIL)
        give_sampler(study)
    assert found == expected


def test_the_first_trainings_are_spread_and_the_others_accurate() -> None:
    drawn = go_on(make_study(), 40)
    for name, choices in SPACE.dimensions.items():
        assert {choices[0], choices[-1]} <= {params[name] for params in drawn[:FIRST]}
    values = [accuracy(params) for params in drawn]
    assert max(values[FIRST:]) == max(map(accuracy, all_of_them()))
    assert np.mean(values[20:]) > np.mean(values[:FIRST]) + 2


def all_of_them() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [SPACE.encode(SPACE.sample(rng)) for _ in range(4000)]

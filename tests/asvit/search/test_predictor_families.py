"""The predictor in a space of several families: what it trains first, and where that leads."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from asvit.search import SearchSettings, get_controller
from asvit.search import predictor_sampler as module
from asvit.search.limits import Excess, Limits
from asvit.search.sampler import distributions
from asvit.search.study import ask
from asvit.spaces import load_space
from tests.asvit.search.ridge import quick_predictor, ridge_of

FAMILIES = "shiftvit", "resnet", "deit", "convnext"
SPACE = load_space(",".join(FAMILIES))
#: Accuracies of the families; those of topologies are within two points of it.
LEVELS = {"shiftvit": 60.0, "resnet": 75.0, "deit": 40.0, "convnext": 70.0}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_predictor(monkeypatch.setattr, ridge_of(SPACE), sampled=60, spread=64)


def make_study(**given: Any) -> Study:
    study = optuna.create_study(direction="maximize")
    settings = SearchSettings.make(space=SPACE.name, controller="predictor", **given)
    make = get_controller("predictor").make
    study.sampler = make(SPACE.dimensions, {"accuracy": "higher"}, settings)
    return study


def accuracy(params: dict[str, Any]) -> float:
    places = [SPACE.dimensions[name].index(params[name]) for name in SPACE.active(params)]
    return LEVELS[params["family"]] + float(np.mean(places))


def go_on(study: Study, trainings: int) -> Iterator[FrozenTrial]:
    drawn = 0
    while drawn < trainings:
        trials = [ask(study, distributions(SPACE.dimensions)) for _ in range(4 - drawn % 4)]
        for trial in trials:
            study.tell(trial, accuracy(trial.params))
        drawn += len(trials)
    yield from study.get_trials(states=(TrialState.COMPLETE,))


def text(params: dict[str, Any]) -> str:
    return str(SPACE.decode(params).with_(width=16))


def test_each_family_is_trained_as_made_by_hand_and_then_at_random() -> None:
    drawn = list(go_on(make_study(), 8))
    by_hand = [str(SPACE.parse(made).with_(width=16)) for made in SPACE.by_hand]
    assert [text(trial.params) for trial in drawn[:4]] == by_hand
    # The families that lead come first.
    assert [t.params["family"] for t in drawn[4:]] == sorted(FAMILIES, key=LEVELS.get)[::-1]
    for trial in drawn[4:]:
        names = list(SPACE.active(trial.params))
        other = next(t.params for t in drawn[:4] if t.params["family"] == trial.params["family"])
        changed = sum(trial.params[name] != other[name] for name in names)
        assert changed >= len(names) / 2


def test_a_family_without_a_network_in_the_limits_is_left_out_in_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def excess(_self: Limits, arch: Any, **_: bool) -> Excess | None:
        return Excess(1.0, "too large") if "deit" in str(arch) else None

    monkeypatch.setattr(Limits, "excess", excess)
    drawn = list(go_on(make_study(), 12))
    assert {trial.params["family"] for trial in drawn[:3]} == {*FAMILIES} - {"deit"}
    assert "deit" not in {trial.params["family"] for trial in drawn}
    said = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert said == ["deit has no network within the limits and is left out"]

"""Controllers that learn; the policy's state against a replay by hand. All: tests/contracts."""

from collections.abc import Callable
from typing import TypeVar

import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import TrialState

from asvit.search import SearchSettings, get_controller
from asvit.search import sampler as sampler_module
from asvit.search.policy import (
    JointCategoricalPolicy,
    MovingBaseline,
    WindowedReward,
    reinforce_step,
)
from asvit.search.sampler import UNIFORM, ReinforceSampler, draw_seed
from asvit.search.study import ask
from scaling.ranking import Better

T = TypeVar("T")

BETTER: dict[str, Better] = {"length": "higher", "kappa": "lower"}
DIMENSIONS = {f"d{i}": (1, 2, 3, 4) for i in range(6)}
SPACE: dict[str, BaseDistribution] = {
    name: CategoricalDistribution(options) for name, options in DIMENSIONS.items()
}


def make_sampler(controller: str = "reinforce", *, seed: int = 0, batch: int = 1) -> BaseSampler:
    settings = SearchSettings.make(controller=controller, seed=seed, batch=batch)
    return get_controller(controller).make(DIMENSIONS, BETTER, settings)


def make_study(sampler: BaseSampler) -> Study:
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)


def values_of(params: dict[str, int]) -> list[float]:
    return [float(sum(params.values())), float(params["d0"] * params["d1"] - params["d2"])]


def go_on(study: Study, steps: int) -> list[dict[str, int]]:
    drawn = []
    for _ in range(steps):
        trial = ask(study, SPACE)
        study.tell(trial, values_of(trial.params))
        drawn.append(trial.params)
    return drawn


@pytest.mark.parametrize("controller", ["reinforce", "evolution", "tpe", "nsga2"])
def test_a_controller_that_learns_beats_random(controller: str) -> None:
    def late_average(name: str, seed: int) -> float:
        study = make_study(make_sampler(name, seed=seed))
        total = 0.0
        for step in range(150):
            trial = study.ask(SPACE)
            length = float(sum(trial.params.values()))
            study.tell(trial, [length, -length])
            total += length if step >= 100 else 0.0
        return total / 50

    learned = sum(late_average(controller, seed) for seed in (0, 1)) / 2
    assert learned > sum(late_average("random", seed) for seed in (0, 1)) / 2 + 0.5


def generator(seed: int, purpose: str, count: int) -> torch.Generator:
    return torch.Generator().manual_seed(draw_seed(seed, purpose, count))


def replayed_by_hand(study: Study, seed: int, batch: int) -> JointCategoricalPolicy:
    policy = JointCategoricalPolicy([4] * 6, generator=generator(seed, "policy logits", 0))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.08)
    reward_of, baseline = WindowedReward(BETTER), MovingBaseline()
    held: list[tuple[tuple[int, ...], float]] = []
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        reward = reward_of.update(dict(zip(BETTER, trial.values, strict=True)))
        choice = tuple(trial.params[name] - 1 for name in DIMENSIONS)
        if UNIFORM not in trial.user_attrs:
            held.append((choice, reward - baseline.update(reward)))
        if held and (trial.number + 1) % batch == 0:
            reinforce_step(policy, optimizer, [c for c, _ in held], [a for _, a in held])
            held = []
    return policy


@pytest.mark.parametrize("batch", [1, 4])
def test_the_policy_follows_from_the_trials(batch: int) -> None:
    sampler = make_sampler(batch=batch, seed=5)
    study = make_study(sampler)
    go_on(study, 18)
    expected = replayed_by_hand(study, seed=5, batch=batch)
    assert sampler.likeliest(study) == {
        name: place + 1 for name, place in zip(DIMENSIONS, expected.argmax(), strict=True)
    }
    draw = expected.sample(generator(5, "policy draw", 18))
    assert list(study.ask(SPACE).params.values()) == [place + 1 for place in draw]


class Few:
    """Limits within which a seventh of the space is."""

    def first(self, draw: Callable[[], T], choices: Callable[[T], dict[str, int]]) -> T:
        while True:
            drawn = draw()
            if sum(choices(drawn).values()) % 7 == 0:
                return drawn


@pytest.mark.parametrize("batch", [1, 4])
def test_uniform_draws_in_place_of_the_policys_teach_it_nothing(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "_OWN_DRAWS", 5)
    monkeypatch.setattr(ReinforceSampler, "limits", Few())
    sampler = make_sampler(batch=batch, seed=5)
    study = make_study(sampler)
    go_on(study, 24)
    uniform = [UNIFORM in trial.user_attrs for trial in study.trials]
    assert 5 < sum(uniform) < 20
    expected = replayed_by_hand(study, seed=5, batch=batch)
    sampler.entropies(study)
    assert torch.equal(sampler._policy.logits, expected.logits)
    study.sampler = anew = make_sampler(batch=batch, seed=5)  # as after a kill
    anew.entropies(study)
    assert torch.equal(anew._policy.logits, expected.logits)


def test_evolution_changes_one_dimension_of_a_living_parent() -> None:
    study = make_study(make_sampler("evolution"))
    drawn = [tuple(p.values()) for p in go_on(study, 90)]
    for place in range(50, 90):
        alive = drawn[place - 50 : place]
        nearest = min(
            sum(a != b for a, b in zip(drawn[place], parent, strict=True)) for parent in alive
        )
        assert nearest <= 1  # 0 where another member happens to be the child

"""How often a controller draws an architecture again: it is played against made-up measures.

A run measures every architecture once, so what it draws again costs nothing. How often that
happens follows from how fast a policy narrows, which depends little on what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from asvit.runs.checks import find_directions
from asvit.search import SearchSettings, get_controller
from asvit.search.ledger import objectives
from asvit.search.study import create_study, quiet_optuna
from asvit.spaces import SearchSpace

_PLAYS = 3
_RECENT = 100  # draws at the end of a play that is cut short, which tell how it would go on
_CHECK_EVERY = 20


def fresh_draws(
    space: SearchSpace, settings: SearchSettings, *, done: int = 0, seconds: float = 4.0
) -> Sequence[float]:
    """How many of a run's draws after the first ``done`` have not come before, in a few plays.

    Every choice in every dimension adds a normal number to each made-up measure, and chance as
    much again as all of them together. About 1 ms a draw with REINFORCE, in memory.

    Args:
        space: What is searched.
        settings: Of the search.
        done: Draws of an earlier session; at most the settings' steps.
        seconds: Processor time for all plays; what is left of one goes on as its last draws did.

    Returns:
        One number for each play.
    """
    with quiet_optuna():
        return [_play(space, settings, done, seconds / _PLAYS, play) for play in range(_PLAYS)]


def _play(
    space: SearchSpace, settings: SearchSettings, done: int, seconds: float, number: int
) -> float:
    rng = np.random.default_rng([settings.seed, number])
    goals = objectives(find_directions(settings.proxies))
    study = create_study(optuna.storages.InMemoryStorage(), "rehearsal", goals)
    study.sampler = get_controller(settings.controller).make(space.dimensions, goals, settings)
    distributions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(choices) for name, choices in space.dimensions.items()
    }
    effects = [
        {
            name: dict(zip(choices, rng.standard_normal(len(choices)), strict=True))
            for name, choices in space.dimensions.items()
        }
        for _ in goals
    ]
    chance = len(distributions) ** 0.5
    known: dict[str, list[float]] = {}
    fresh: list[bool] = []
    started = time.process_time()  # other programs do not cut a play short
    while len(fresh) < settings.steps:
        trial = study.ask(distributions)
        text = str(space.decode(trial.params))
        fresh.append(text not in known)
        if fresh[-1]:
            known[text] = [
                sum(effect[name][choice] for name, choice in trial.params.items())
                + chance * rng.standard_normal()
                for effect in effects
            ]
        study.tell(trial, known[text])
        if len(fresh) % _CHECK_EVERY == 0 and time.process_time() - started > seconds:
            break
    recent = fresh[-_RECENT:]
    rate = sum(recent) / len(recent)
    return sum(fresh[done:]) + rate * (settings.steps - max(done, len(fresh)))

"""Simulates a controller on made-up measures, to count how often it draws an architecture again.

A run measures every architecture once, so repeated draws cost nothing. How many there are depends
on how fast the policy narrows, and little on what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import optuna

from asvit.runs.checks import find_directions
from asvit.search import SearchSettings, get_controller
from asvit.search.front import objectives
from asvit.search.sampler import distributions
from asvit.search.study import create_study, quiet_optuna
from asvit.spaces import SearchSpace

_SIMULATIONS = 3
_RECENT = 100  # last draws of a simulation cut short, whose rate is extrapolated
_CHECK_EVERY = 20


def fresh_draws(
    space: SearchSpace, settings: SearchSettings, *, done: int = 0, seconds: float = 4.0
) -> Sequence[float]:
    """How many of a run's draws after the first ``done`` are new, in a few simulations.

    Every choice in every dimension adds a normal number to each made-up measure, and noise as
    much again as all of them together. About 1 ms a draw with REINFORCE, in memory.

    Args:
        space: What is searched.
        settings: Of the search.
        done: Draws of an earlier session; at most the settings' steps.
        seconds: Processor time for all simulations; one that is cut short is extrapolated from
            its last draws.

    Returns:
        One number for each simulation.
    """
    with quiet_optuna():
        return [
            _simulated(space, settings, done, seconds / _SIMULATIONS, number)
            for number in range(_SIMULATIONS)
        ]


def _simulated(
    space: SearchSpace, settings: SearchSettings, done: int, seconds: float, number: int
) -> float:
    rng = np.random.default_rng([settings.seed, number])
    goals = objectives(find_directions(settings.proxies))
    study = create_study(optuna.storages.InMemoryStorage(), "simulation", goals)
    study.sampler = get_controller(settings.controller).make(space.dimensions, goals, settings)
    drawn_from = distributions(space.dimensions)
    effects = [
        {
            name: dict(zip(choices, rng.standard_normal(len(choices)), strict=True))
            for name, choices in space.dimensions.items()
        }
        for _ in goals
    ]
    noise = len(drawn_from) ** 0.5
    known: dict[str, list[float]] = {}
    fresh: list[bool] = []
    started = time.process_time()  # other programs do not cut it short
    while len(fresh) < settings.steps:
        trial = study.ask(drawn_from)
        text = str(space.decode(trial.params))
        fresh.append(text not in known)
        if fresh[-1]:
            known[text] = [
                sum(effect[name][choice] for name, choice in trial.params.items())
                + noise * rng.standard_normal()
                for effect in effects
            ]
        study.tell(trial, known[text])
        if len(fresh) % _CHECK_EVERY == 0 and time.process_time() - started > seconds:
            break
    recent = fresh[-_RECENT:]
    rate = sum(recent) / len(recent)
    return sum(fresh[done:]) + rate * (settings.steps - max(done, len(fresh)))

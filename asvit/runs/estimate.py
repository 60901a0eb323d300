"""The time that a search would take, from measuring a few of its architectures.

Multiply-adds predict the time of an architecture only roughly, and counting many takes as long as
measuring a few more. So the estimate is the mean time of architectures drawn as the run would draw
its first ones, times the number that is left. Nothing is written. A run measures every
architecture once; how many draws are repeated depends on how fast the policy narrows, and little
on what is measured, so a controller is simulated on made-up measures.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import optuna

from asvit.data.sources import fractal_classes
from asvit.executors import Workers
from asvit.executors.base import cores
from asvit.runs.checks import find_directions, find_space
from asvit.runs.measurement_pool import Evaluator
from asvit.search import SearchSettings, get_controller
from asvit.search.front import BEST, objectives
from asvit.search.sampler import distributions
from asvit.search.seeds import seed_for
from asvit.search.study import create_study, quiet_optuna
from asvit.spaces import SearchSpace
from asvit.spaces.base import Architecture

Clock = Callable[[], float]

_AT_MOST = 30  # architectures to measure, however quick they are
_CONFIDENCE = 0.95
_SIMULATIONS = 3
_RECENT = 100  # last draws of a simulation cut short, whose rate is extrapolated
_CHECK_EVERY = 20
_CACHED = ("fractal", "torchvision", "hf")  # images that loading would write to the cache


@dataclass(frozen=True)
class Sample:
    """An architecture that was timed, in seconds with one network."""

    architecture: str
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """What the rest of a run would take: wall-clock seconds, with the ends of their interval."""

    steps: int  # that are left
    architectures: float = 0.0  # how many of them draw a new one; see fresh_draws
    seconds: float = 0.0  # of measuring them
    low: float = 0.0
    high: float = 0.0
    samples: tuple[Sample, ...] = ()
    growth: float = 1.0  # time of an architecture with all its networks, over that with one
    jobs: int = 1  # workers at the same time; 1 for a Ray cluster that decides itself
    speed: float = 1.0  # how much faster they are together than one of them, at best
    memory: int | None = None  # as peak_memory has it
    failures: int = 0  # samples with a measure that failed
    device: str = ""  # where they were measured


def estimate_search(
    settings: SearchSettings,
    workers: Workers | None = None,
    candidates: int = 6,
    *,
    done: int = 0,
    seconds: float = 3.0,
    clock: Clock = time.perf_counter,
) -> Estimate:
    """Estimate what a search with ``settings`` would take on this machine as it is now.

    Architectures are drawn uniformly, as by a policy that has learned nothing, and measured with
    one network each; some of them again with all networks. The start, the study and the report
    are left out: a few seconds. Finalists, which are measured again, count as more architectures.
    The interval is a prediction interval for the mean time of the remaining architectures, and
    for how many draws are new. It does not cover a policy that comes to prefer slower
    architectures, or other work on the machine.

    Images are noise unless they are read from a folder: others would be kept in the cache.

    Args:
        settings: Of the search.
        workers: Processes that will measure, as for :func:`asvit.runs.run_search`. They are
            assumed to be as fast as this machine, and not to slow each other down while there are
            cores, or on a GPU at all.
        candidates: Architectures to measure at least, 2 or more.
        done: Steps that an earlier session has measured.
        seconds: Measure more architectures for so long, and then with all networks for so long.
        clock: What to measure with; processor time where other work disturbs.
    """
    if candidates < 2:
        raise ValueError(f"candidates={candidates}; an interval needs at least 2")
    get_controller(settings.controller)
    find_directions(settings.proxies)
    space = find_space(settings.space, image_size=settings.image_size)
    timing = _Timing(space, settings, workers, clock)
    left = settings.steps - done
    if left <= 0:
        return Estimate(0, memory=peak_memory(timing.device), device=timing.device)
    samples = timing.samples(min(candidates, max(2, left)), min(_AT_MOST, left), seconds)
    growth = timing.growth(samples, seconds) if settings.repeats > 1 else 1.0
    fresh = fresh_draws(space, settings, done=done)
    expected = statistics.fmean(fresh)
    # On a CPU the networks of an architecture are shared out, elsewhere the architectures.
    tasks = settings.batch * (settings.repeats if timing.device == "cpu" else 1)
    speed = speed_of(timing.jobs, tasks, timing.device)
    each = [sample.seconds * growth / speed for sample in samples]
    mean = statistics.fmean(each)
    again = (min(BEST, settings.steps) + 1) * settings.recheck / settings.repeats
    return Estimate(
        steps=left,
        architectures=expected,
        seconds=(expected + again) * mean,
        low=(min(fresh) + again) * max(0.0, mean - _margin(each, min(fresh))),
        high=(max(fresh) + again) * (mean + _margin(each, max(fresh))),
        samples=tuple(samples),
        growth=growth,
        jobs=timing.jobs,
        speed=speed,
        memory=peak_memory(timing.device),
        failures=timing.failures,
        device=timing.device,
    )


def speed_of(jobs: int, tasks: int, device: str) -> float:
    """How much faster ``jobs`` workers finish than one, at best: no more than cores on a CPU.

    Tasks are dealt out in turns, of which the last may leave workers idle.
    """
    workers = min(jobs, cores()) if device == "cpu" else jobs
    return tasks / math.ceil(tasks / workers)


def peak_memory(device: str) -> int | None:
    """Largest memory so far in bytes: of a GPU, else of this process; None if nothing tells."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


class _Timing:
    """Times architectures of a space, drawn by the seed of a run."""

    def __init__(
        self, space: SearchSpace, settings: SearchSettings, workers: Workers | None, clock: Clock
    ) -> None:
        self._space = space
        self._clock = clock
        kind = settings.data.partition(":")[0]
        if kind == "fractal":
            fractal_classes(settings.data)
        shown = replace(settings, data="gaussian") if kind in _CACHED else settings
        self._single = Evaluator(space, replace(shown, repeats=1), workers=Workers(jobs=1))
        self._whole = Evaluator(space, shown, workers=Workers(jobs=1))
        self.jobs = Evaluator(space, shown, workers=workers).workers.jobs or 1
        self._rng = np.random.default_rng(seed_for(settings.seed, "estimate", 0))
        self.device = self._single.context.device
        self.failures = 0

    def samples(self, least: int, most: int, seconds: float) -> list[Sample]:
        """Time ``least`` architectures, and for so many seconds more of them, up to ``most``."""
        self._time(self._single, self._space.sample(self._rng))  # the first one also warms up
        started = self._clock()
        taken: list[Sample] = []
        while len(taken) < least or (len(taken) < most and self._clock() - started < seconds):
            arch = self._space.sample(self._rng)
            took, failed = self._time(self._single, arch)
            taken.append(Sample(str(arch), took))
            self.failures += failed
        return taken

    def growth(self, samples: Sequence[Sample], seconds: float) -> float:
        """Time with all networks over time with one, from ordinary samples first."""
        middle = statistics.median(sample.seconds for sample in samples)
        started, one, every = self._clock(), 0.0, 0.0
        for sample in sorted(samples, key=lambda sample: abs(sample.seconds - middle)):
            # Costs are cached: the first time less that of one network again is that of counting.
            again, _ = self._time(self._single, sample.architecture)
            whole, _ = self._time(self._whole, sample.architecture)
            one += sample.seconds
            every += sample.seconds - again + whole
            if self._clock() - started > seconds:
                break
        return max(1.0, every / one)

    def _time(self, evaluate: Evaluator, arch: Architecture | str) -> tuple[float, bool]:
        """Seconds of measuring an architecture, and whether a measure of it failed."""
        started = self._clock()
        measurement = evaluate(arch)
        return self._clock() - started, bool(measurement.reasons)


def _margin(samples: Sequence[float], count: float) -> float:
    """How far the mean of ``count`` more may be from that of ``samples``, by a t-interval."""
    from scipy.stats import t

    known = len(samples)
    quantile = float(t.ppf((1 + _CONFIDENCE) / 2, known - 1))
    return quantile * statistics.stdev(samples) * math.sqrt(1 / known + 1 / max(count, 1))


def fresh_draws(
    space: SearchSpace, settings: SearchSettings, *, done: int = 0, seconds: float = 4.0
) -> Sequence[float]:
    """How many of a run's draws after the first ``done`` are new, in a few simulations.

    Every choice in every dimension adds a normal number to each made-up measure, and noise as
    much again as all of them together. About 1 ms a draw with REINFORCE, in memory. All
    simulations take so many ``seconds`` of processor time; one that is cut short is extrapolated
    from its last draws.
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

"""The time that a run would take, from measuring a few of its networks.

Multiply-adds predict the time of an architecture only roughly, and counting many takes as long as
measuring a few more. So the estimate of a search is the mean time of architectures drawn as the
run would draw its first ones, times the number that is left. Nothing is written. A run measures
every architecture once; how many draws are repeated depends on how fast the policy narrows, and
little on what is measured, so a controller is simulated on made-up measures. A scaling or a
correlation is timed on networks spread evenly over those that it would measure.
"""

import heapq
import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import optuna
import torch

from asvit.core.settings import MeasuringSettings
from asvit.data.sources import Images, fractal_classes
from asvit.executors import Workers
from asvit.executors.base import cores
from asvit.reference.build import Training
from asvit.reference.trainer import Trainer
from asvit.runs.checks import find_directions, find_space
from asvit.runs.measurement_pool import (
    EvalContext,
    Evaluator,
    MeasurementJob,
    MeasurementPool,
    Workload,
    parts_of,
)
from asvit.runs.training_pool import training_workers
from asvit.search import (
    MeasureSearchSettings,
    SearchSettings,
    TrainingSearchSettings,
    get_controller,
)
from asvit.search.front import BEST, objectives
from asvit.search.limits import Limits
from asvit.search.sampler import distributions
from asvit.search.seeds import seed_for
from asvit.search.study import create_study, quiet_optuna
from asvit.spaces import SearchSpace
from proxies.evaluation import resolve_device

Clock = Callable[[], float]

_PROBED = 5  # steps of a training that is timed
_AT_MOST = 30  # architectures to measure, however quick they are
_CONFIDENCE = 0.95
_SIMULATIONS = 3
_RECENT = 100  # last draws of a simulation cut short, whose rate is extrapolated
_CHECK_EVERY = 20
_GOLDEN = (5**0.5 - 1) / 2
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
    done: int = 0  # steps of earlier sessions


def estimate_search(
    settings: MeasureSearchSettings | TrainingSearchSettings,
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
    limits, left = Limits(space, settings), settings.trials - done
    rng = np.random.default_rng(seed_for(settings.seed, "estimate", 0))
    least = min(candidates, max(2, left))
    given: dict[str, Any] = {"least": least, "seconds": seconds, "clock": clock}
    if isinstance(settings, TrainingSearchSettings):
        return _estimate_trainings(limits, settings, workers, rng, done=done, **given)
    asked = Evaluator(space, _uncached(settings), workers=workers)
    jobs, device = asked.workers.jobs or 1, asked.context.device
    if left <= 0:
        return _nothing_left(device, done)
    found = _estimate(
        lambda: asked.job(limits.sample(rng)),
        _measuring(lambda _side: asked.context, space=space),
        lambda: fresh_draws(space, settings, done=done),
        parts=parts_of(settings.proxies, jobs),
        jobs=jobs,
        device=device,
        repeats=settings.repeats,
        at_once=settings.batch,
        most=min(_AT_MOST, left),
        again=(min(BEST, settings.steps) + 1) * settings.recheck / settings.repeats,
        **given,
    )
    return replace(found, steps=left, done=done)


def _estimate_trainings(
    limits: Limits,
    settings: TrainingSearchSettings,
    workers: Workers | None,
    rng: np.random.Generator,
    *,
    done: int,
    **given: Any,
) -> Estimate:
    """The estimate of a search that trains: from a few steps of each network, on noise.

    What the predictor takes is left out.
    """
    device, left = str(resolve_device(settings.device)), settings.trainings - done
    if left <= 0:
        return _nothing_left(device, done)
    whole = settings.training
    probe = replace(whole, steps=_PROBED, train_images=whole.batch_size + 2, test_images=2)
    count = probe.train_images + probe.test_images
    pixels = rng.standard_normal((count, 3, whole.image_size, whole.image_size), np.float32)
    labels = torch.arange(count) % 2
    images = Images(torch.from_numpy(pixels), labels, ("even", "odd"), "noise")
    train = Trainer(probe, device, images=images)
    found = _estimate(
        lambda: Training(str(limits.network(limits.sample(rng))), 0),
        lambda training, **_: bool(train(training).reason),
        lambda: [left],
        jobs=training_workers(workers, settings, device).jobs or 1,
        device=device,
        repeats=1,
        at_once=settings.batch,
        most=min(_AT_MOST, max(2, left)),
        **given,
    )
    passes, probed = (
        3 * one.steps * one.batch_size + one.test_images for one in (whole, probe)
    )  # a step takes three passes of each image
    longer = passes / probed
    return replace(
        found,
        steps=left,
        done=done,
        seconds=found.seconds * longer,
        low=found.low * longer,
        high=found.high * longer,
        samples=tuple(Sample(one.architecture, one.seconds * longer) for one in found.samples),
    )


def estimate_jobs(
    jobs: Sequence[MeasurementJob],
    settings: MeasuringSettings,
    workload: Workload,
    workers: Workers | None,
    *,
    counts: Sequence[float] | None = None,
    num_classes: int = 1000,
) -> Estimate:
    """Estimate what measuring ``jobs`` would take, as :func:`estimate_search` does.

    Networks evenly spaced in ``jobs`` are measured, at least 3. ``counts`` are guesses of how many
    there will be, where their number is not known.
    """
    if not jobs:
        return _nothing_left(str(resolve_device(settings.device)))
    shown, side = _uncached(settings), jobs[0].side
    context = cache(lambda side: EvalContext(shown, image_size=side))
    # Multiples of the golden ratio are spread evenly, however many are taken.
    spread = sorted(range(len(jobs)), key=lambda place: place * _GOLDEN % 1)
    order = itertools.cycle([jobs[place] for place in (0, *spread)])  # the first warms up
    asked = MeasurementPool({side: context(side)}, workers, workload)
    found = _estimate(
        lambda: next(order),
        _measuring(context, num_classes=num_classes),
        lambda: counts or [len(jobs)],
        jobs=asked.workers.jobs or 1,
        device=context(side).device,
        repeats=settings.repeats,
        at_once=workload.at_once,
        least=3,
        most=max(3, min(_AT_MOST, len(jobs))),
    )
    return replace(found, steps=round(found.architectures))


def _measuring(context: Callable[[int], EvalContext], **kind: Any) -> Callable[..., bool]:
    """What measures a job in this process, changed, and says whether a measure failed."""

    def failed(job: MeasurementJob, **changes: Any) -> bool:
        load = Workload(1, 1, 1.0)
        pool = MeasurementPool({job.side: context(job.side)}, Workers(jobs=1), load, **kind)
        ((_, found),) = pool.measure([replace(job, **changes)])
        return not all(score.valid for score in found.scores.values())

    return failed


def _nothing_left(device: str, done: int = 0) -> Estimate:
    return Estimate(0, memory=peak_memory(device), device=device, done=done)


def _uncached(settings: Any) -> Any:
    """``settings`` with noise in the place of images that loading would write to the cache."""
    kind = settings.data.partition(":")[0]
    if kind == "fractal":
        fractal_classes(settings.data)
    return replace(settings, data="gaussian") if kind in _CACHED else settings


def speed_of(jobs: int, tasks: int, device: str, shares: Sequence[float] = (1.0,)) -> float:
    """How much faster ``jobs`` workers finish than one, at best: no more than cores on a CPU.

    The tasks that are left when all workers have had equally many are split into ``shares``.
    """
    free = [0.0] * (min(jobs, cores()) if device == "cpu" else jobs)  # when each worker is
    rest = tasks % jobs
    for length in [*[1.0] * (tasks - rest), *[*shares] * rest]:
        heapq.heapreplace(free, free[0] + length)
    return tasks / max(free)


def peak_memory(device: str) -> int | None:
    """Largest memory so far in bytes: of a GPU, else of this process; None if nothing tells."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


def _estimate(
    draw: Callable[[], MeasurementJob | Training],
    failed: Callable[..., bool],
    counts: Callable[[], Sequence[float]],
    *,
    parts: Sequence[Sequence[str]] = (),
    jobs: int,
    device: str,
    repeats: int,
    at_once: int,
    least: int,
    most: int,
    seconds: float = 3.0,
    clock: Clock = time.perf_counter,
    again: float = 0.0,
) -> Estimate:
    """The time of as many as ``counts`` guesses, and ``again``; ``at_once`` go together.

    Times what ``draw`` gives with one network each: ``least`` of them, and for so many seconds
    more, up to ``most``; then some again with all networks. ``failed`` measures one, changed, and
    says whether a measure failed. Workers may share it out in ``parts``.
    """

    def timed(one: MeasurementJob | Training, **changes: Any) -> tuple[float, bool]:
        started = clock()
        without = failed(one, **changes)
        return clock() - started, without

    alone = {"other": {"repeats": 1}}
    timed(draw(), **alone)  # the first one also warms up
    started, failures = clock(), 0
    drawn: list[tuple[MeasurementJob | Training, float]] = []
    while len(drawn) < least or (len(drawn) < most and clock() - started < seconds):
        one = draw()
        took, without = timed(one, **alone)
        drawn.append((one, took))
        failures += without
    middle = statistics.median(took for _, took in drawn)
    ordinary = sorted(drawn, key=lambda sample: abs(sample[1] - middle))
    growth = 1.0
    if repeats > 1:
        started, total, every = clock(), 0.0, 0.0
        for one, took in ordinary:
            # Costs are cached: the first time less that of one network again is that of counting.
            once, _ = timed(one, **alone)
            whole, _ = timed(one)
            total += took
            every += took - once + whole
            if clock() - started > seconds:
                break
        growth = max(1.0, every / total)
    fresh = counts()
    expected = statistics.fmean(fresh)
    # On a CPU the networks of an architecture are shared out, elsewhere the architectures.
    tasks, shares = at_once * (repeats if device == "cpu" else 1), [1.0]
    if tasks % jobs and parts:
        one, _ = ordinary[0]
        times = [timed(one, names=tuple(part), **alone)[0] for part in parts]
        shares = [part / sum(times) for part in times]
    speed = speed_of(jobs, tasks, device, shares)
    each = [took * growth / speed for _, took in drawn]
    mean = statistics.fmean(each)
    return Estimate(
        steps=0,
        architectures=expected,
        seconds=(expected + again) * mean,
        low=(min(fresh) + again) * max(0.0, mean - _margin(each, min(fresh))),
        high=(max(fresh) + again) * (mean + _margin(each, max(fresh))),
        samples=tuple(Sample(str(one.architecture), took) for one, took in drawn),
        growth=growth,
        jobs=jobs,
        speed=speed,
        memory=peak_memory(device),
        failures=failures,
        device=device,
    )


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

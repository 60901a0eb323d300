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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
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
from asvit.search import SearchSettings, get_controller
from asvit.search.front import BEST, objectives
from asvit.search.limits import Limits
from asvit.search.sampler import distributions
from asvit.search.seeds import seed_for
from asvit.search.study import create_study, quiet_optuna
from asvit.spaces import SearchSpace
from asvit.spaces.base import Architecture
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
    if settings.trainings is not None:
        return _estimate_trainings(
            space, settings, workers, candidates, done=done, seconds=seconds, clock=clock
        )
    shown = _uncached(settings)
    asked = Evaluator(space, shown, workers=workers)
    jobs = asked.workers.jobs or 1

    def measuring(**changes: Any) -> Callable[[Any], bool]:
        alone = Evaluator(space, replace(shown, **changes), workers=Workers(jobs=1))
        return lambda arch: bool(alone(arch).reasons)

    limits = Limits(space, settings)
    rng = np.random.default_rng(seed_for(settings.seed, "estimate", 0))
    timing = _Timing(
        lambda: limits.sample(rng),
        measuring(repeats=1),
        measuring(),
        parts=[measuring(repeats=1, proxies=part) for part in parts_of(settings.proxies, jobs)],
        jobs=jobs,
        device=asked.context.device,
        clock=clock,
    )
    left = settings.steps - done
    if left <= 0:
        return Estimate(0, memory=peak_memory(timing.device), device=timing.device, done=done)
    least, most = min(candidates, max(2, left)), min(_AT_MOST, left)
    found = timing.estimate(
        lambda: fresh_draws(space, settings, done=done),
        repeats=settings.repeats,
        at_once=settings.batch,
        least=least,
        most=most,
        seconds=seconds,
        again=(min(BEST, settings.steps) + 1) * settings.recheck / settings.repeats,
    )
    return replace(found, steps=left, done=done)


def _estimate_trainings(
    space: SearchSpace,
    settings: SearchSettings,
    workers: Workers | None,
    candidates: int,
    *,
    done: int,
    seconds: float,
    clock: Clock,
) -> Estimate:
    """The estimate of a search that trains: from a few steps of each network, on noise.

    What the predictor takes is left out.
    """
    device, left = str(resolve_device(settings.device)), settings.trials - done
    if left <= 0:
        return Estimate(0, memory=peak_memory(device), device=device, done=done)
    whole = settings.training
    probe = replace(whole, steps=_PROBED, train_images=whole.batch_size + 2, test_images=2)
    count = probe.train_images + probe.test_images
    limits = Limits(space, settings)
    rng = np.random.default_rng(seed_for(settings.seed, "estimate", 0))
    pixels = rng.standard_normal((count, 3, whole.image_size, whole.image_size), np.float32)
    labels = torch.arange(count) % 2
    images = Images(torch.from_numpy(pixels), labels, ("even", "odd"), "noise")
    train = Trainer(probe, device, images=images)

    def failed(arch: Architecture) -> bool:
        text = str(limits.network(arch))
        return bool(train(Training(text, 0)).reason)

    timing = _Timing(
        lambda: limits.sample(rng),
        failed,
        failed,
        jobs=training_workers(workers, settings, device).jobs or 1,
        device=device,
        clock=clock,
    )
    found = timing.estimate(
        lambda: [left],
        repeats=1,
        at_once=settings.batch,
        least=min(candidates, max(2, left)),
        most=min(_AT_MOST, max(2, left)),
        seconds=seconds,
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
    seconds: float = 3.0,
    clock: Clock = time.perf_counter,
) -> Estimate:
    """Estimate what measuring ``jobs`` would take, as :func:`estimate_search` does.

    Networks evenly spaced in ``jobs`` are measured, at least 3. ``counts`` are guesses of how many
    there will be, where their number is not known.
    """
    shown, contexts = _uncached(settings), dict[tuple[int, int], EvalContext]()

    def pool(side: int, repeats: int, workers: Workers | None) -> MeasurementPool:
        if (side, repeats) not in contexts:
            chosen = replace(shown, repeats=repeats)
            contexts[side, repeats] = EvalContext(chosen, image_size=side)
        chosen_context = {side: contexts[side, repeats]}
        return MeasurementPool(chosen_context, workers, workload, num_classes=num_classes)

    def measured(job: MeasurementJob, repeats: int) -> bool:
        ((_, found),) = pool(job.side, repeats, Workers(jobs=1)).measure([job])
        return not all(score.valid for score in found.scores.values())

    if not jobs:
        device = str(resolve_device(settings.device))
        return Estimate(0, memory=peak_memory(device), device=device)
    # Multiples of the golden ratio are spread evenly, however many are taken.
    spread = sorted(range(len(jobs)), key=lambda place: place * _GOLDEN % 1)
    order = itertools.cycle([jobs[place] for place in (0, *spread)])  # the first warms up
    resolved = pool(jobs[0].side, settings.repeats, workers)
    timing = _Timing(
        lambda: next(order),
        lambda job: measured(job, 1),
        lambda job: measured(job, settings.repeats),
        jobs=resolved.workers.jobs or 1,
        device=contexts[jobs[0].side, settings.repeats].device,
        clock=clock,
    )
    found = timing.estimate(
        lambda: counts or [len(jobs)],
        repeats=settings.repeats,
        at_once=workload.at_once,
        least=3,
        most=max(3, min(_AT_MOST, len(jobs))),
        seconds=seconds,
    )
    return replace(found, steps=round(found.architectures))


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


@dataclass
class _Timing:
    """Times what ``draw`` gives, with one network and with all.

    ``single`` and ``whole`` measure one, and say whether a measure failed; so do ``parts``, which
    workers may share ``single`` out in.
    """

    draw: Callable[[], Any]
    single: Callable[[Any], bool]
    whole: Callable[[Any], bool]
    _: KW_ONLY
    parts: Sequence[Callable[[Any], bool]] = ()
    jobs: int
    device: str
    clock: Clock
    failures: int = field(default=0, init=False)

    def estimate(
        self,
        counts: Callable[[], Sequence[float]],
        *,
        repeats: int,
        at_once: int,
        least: int,
        most: int,
        seconds: float,
        again: float = 0.0,
    ) -> Estimate:
        """The time of as many as ``counts`` guesses, and ``again``; ``at_once`` go together."""
        drawn = self.samples(least, most, seconds)
        samples = [Sample(_text(one), took) for one, took in drawn]
        growth = self.growth(drawn, seconds) if repeats > 1 else 1.0
        fresh = counts()
        expected = statistics.fmean(fresh)
        # On a CPU the networks of an architecture are shared out, elsewhere the architectures.
        tasks = at_once * (repeats if self.device == "cpu" else 1)
        shares = self.shares(drawn) if tasks % self.jobs else [1.0]
        speed = speed_of(self.jobs, tasks, self.device, shares)
        each = [sample.seconds * growth / speed for sample in samples]
        mean = statistics.fmean(each)
        return Estimate(
            steps=0,
            architectures=expected,
            seconds=(expected + again) * mean,
            low=(min(fresh) + again) * max(0.0, mean - _margin(each, min(fresh))),
            high=(max(fresh) + again) * (mean + _margin(each, max(fresh))),
            samples=tuple(samples),
            growth=growth,
            jobs=self.jobs,
            speed=speed,
            memory=peak_memory(self.device),
            failures=self.failures,
            device=self.device,
        )

    def samples(self, least: int, most: int, seconds: float) -> list[tuple[Any, float]]:
        """Time ``least`` of them, and for so many seconds more, up to ``most``."""
        self._time(self.single, self.draw())  # the first one also warms up
        started = self.clock()
        taken: list[tuple[Any, float]] = []
        while len(taken) < least or (len(taken) < most and self.clock() - started < seconds):
            one = self.draw()
            took, failed = self._time(self.single, one)
            taken.append((one, took))
            self.failures += failed
        return taken

    def growth(self, samples: Sequence[tuple[Any, float]], seconds: float) -> float:
        """Time with all networks over time with one, from ordinary samples first."""
        started, total, every = self.clock(), 0.0, 0.0
        for one, took in _ordinary_first(samples):
            # Costs are cached: the first time less that of one network again is that of counting.
            again, _ = self._time(self.single, one)
            whole, _ = self._time(self.whole, one)
            total += took
            every += took - again + whole
            if self.clock() - started > seconds:
                break
        return max(1.0, every / total)

    def shares(self, samples: Sequence[tuple[Any, float]]) -> Sequence[float]:
        """Shares of the parts in the time of an ordinary sample; of the whole without parts."""
        one, _ = next(_ordinary_first(samples))
        took = [self._time(part, one)[0] for part in self.parts] or [1.0]
        return [part / sum(took) for part in took]

    def _time(self, measure: Callable[[Any], bool], one: Any) -> tuple[float, bool]:
        """Seconds of measuring one, and whether a measure of it failed."""
        started = self.clock()
        failed = measure(one)
        return self.clock() - started, failed


def _ordinary_first(samples: Sequence[tuple[Any, float]]) -> Iterator[tuple[Any, float]]:
    """Samples with their seconds, those nearest to the median first."""
    middle = statistics.median(took for _, took in samples)
    return iter(sorted(samples, key=lambda sample: abs(sample[1] - middle)))


def _text(one: Any) -> str:
    """The text of an architecture, or of that of a job."""
    return str(getattr(one, "architecture", one))


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

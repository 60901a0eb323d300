"""The time that a search would take, from measuring a few of its architectures.

Multiply-adds predict the time of an architecture only roughly, and counting many takes as long as
measuring a few more. So the estimate is the mean time of architectures drawn as the run would draw
its first ones, times the number that is left. Nothing is written.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asvit.data.sources import fractal_classes
from asvit.executors import Workers
from asvit.executors.base import cores
from asvit.runs.checks import find_directions, find_space
from asvit.runs.evaluator import Evaluator
from asvit.runs.simulation import fresh_draws
from asvit.search import SearchSettings, get_controller
from asvit.search.seeds import seed_for
from asvit.spaces import SearchSpace
from asvit.spaces.base import Architecture

Clock = Callable[[], float]

_AT_MOST = 30  # architectures to measure, however quick they are
_CONFIDENCE = 0.95
_CACHED = ("fractal", "torchvision", "hf")  # images that loading would write to the cache


@dataclass(frozen=True)
class Sample:
    """An architecture that was timed.

    Attributes:
        architecture: Its text.
        seconds: With one network.
    """

    architecture: str
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """What the rest of a run would take.

    Attributes:
        steps: Steps that are left.
        architectures: How many of them draw a new architecture, by simulation; see
            :func:`asvit.runs.simulation.fresh_draws`.
        seconds: Wall-clock time of measuring them.
        low: Lower end of the interval for it.
        high: Upper end.
        samples: The architectures that were timed.
        growth: Time of an architecture with all its networks, over that with one.
        jobs: Workers at the same time; 1 for a Ray cluster that decides itself.
        speed: How much faster the workers are together than one of them, at best.
        memory: Largest memory of this process so far in bytes, on the device if that is a GPU;
            None where the system does not tell.
        failures: How many of the samples had a measure that failed.
        device: Where they were measured.
    """

    steps: int
    architectures: float
    seconds: float
    low: float
    high: float
    samples: tuple[Sample, ...]
    growth: float
    jobs: int
    speed: float
    memory: int | None
    failures: int
    device: str


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
    are left out: a few seconds. The interval is a prediction interval for the mean time of the
    remaining architectures, and for how many draws are new. It does not cover a policy that comes
    to prefer slower architectures, or other work on the machine.

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

    Raises:
        ValueError: If ``candidates`` is too small, there is no such space, controller, measure or
            device, or sizes do not fit.
        OSError: If the folder of images cannot be found.
    """
    if candidates < 2:
        raise ValueError(f"candidates={candidates}; an interval needs at least 2")
    get_controller(settings.controller)
    find_directions(settings.proxies)
    space = find_space(settings.space, image_size=settings.image_size)
    timing = _Timing(space, settings, workers, clock)
    left = settings.steps - done
    if left <= 0:
        memory = peak_memory(timing.device)
        return Estimate(0, 0.0, 0.0, 0.0, 0.0, (), 1.0, 1, 1.0, memory, 0, timing.device)
    samples = timing.samples(min(candidates, max(2, left)), min(_AT_MOST, left), seconds)
    growth = timing.growth(samples, seconds) if settings.repeats > 1 else 1.0
    fresh = fresh_draws(space, settings, done=done)
    expected = statistics.fmean(fresh)
    # On a CPU the networks of an architecture are shared out, elsewhere the architectures.
    tasks = settings.batch * (settings.repeats if timing.device == "cpu" else 1)
    speed = speed_of(timing.jobs, tasks, timing.device)
    each = [sample.seconds * growth / speed for sample in samples]
    middle = expected * statistics.fmean(each)
    return Estimate(
        steps=left,
        architectures=expected,
        seconds=middle,
        low=min(fresh) * max(0.0, statistics.fmean(each) - _margin(each, min(fresh))),
        high=max(fresh) * (statistics.fmean(each) + _margin(each, max(fresh))),
        samples=tuple(samples),
        growth=growth,
        jobs=timing.jobs,
        speed=speed,
        memory=peak_memory(timing.device),
        failures=timing.failures,
        device=timing.device,
    )


def speed_of(jobs: int, tasks: int, device: str) -> float:
    """How much faster ``jobs`` workers finish than one, at best.

    Args:
        jobs: Workers.
        tasks: How many there are at the same time: they are dealt out in turns, and the last turn
            may leave workers idle.
        device: On a CPU no more workers than cores count.
    """
    workers = min(jobs, cores()) if device == "cpu" else jobs
    return tasks / math.ceil(tasks / workers)


def peak_memory(device: str) -> int | None:
    """Largest memory so far in bytes: of the device if that is a GPU, else of this process."""
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
        self.device = self._single.device
        self.failures = 0
        self._drawn: dict[str, Architecture] = {}

    def samples(self, least: int, most: int, seconds: float) -> list[Sample]:
        """Time ``least`` architectures, and for so many seconds more of them, up to ``most``."""
        self._time(self._single, self._draw())  # the first one also warms up
        started = self._clock()
        taken: list[Sample] = []
        while len(taken) < least or (len(taken) < most and self._clock() - started < seconds):
            arch = self._draw()
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
            arch = self._drawn[sample.architecture]
            again, _ = self._time(self._single, arch)
            whole, _ = self._time(self._whole, arch)
            one += sample.seconds
            every += sample.seconds - again + whole
            if self._clock() - started > seconds:
                break
        return max(1.0, every / one)

    def _draw(self) -> Architecture:
        arch = self._space.sample(self._rng)
        self._drawn[str(arch)] = arch
        return arch

    def _time(self, evaluate: Evaluator, arch: Architecture) -> tuple[float, bool]:
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

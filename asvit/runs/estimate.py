"""What a search would take, from measuring a handful of its architectures; nothing is written.

How long an architecture takes follows from its multiply-adds only roughly; measuring a few more
tells as much in the time that counting many takes. So the estimate is the mean of some that are
drawn as the run would draw its first ones, times how many are left.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asvit._run_files import JOURNAL, RESULT
from asvit.data.sources import fractal_classes
from asvit.executors import Workers
from asvit.executors.base import cores
from asvit.runs.checks import find_directions, find_space
from asvit.runs.evaluator import Evaluator
from asvit.runs.rehearsal import fresh_draws
from asvit.runs.search_result import SearchResult
from asvit.search import SearchSettings, get_controller
from asvit.search.journal import read_journal
from asvit.search.sampler import measured_trials
from asvit.search.seeds import seed_for
from asvit.search.study import STUDY, check_settings, find_study
from asvit.spaces import SearchSpace

Clock = Callable[[], float]

_AT_MOST = 30  # architectures to measure, however quick they are
_CONFIDENCE = 0.95
_ELSEWHERE = ("fractal", "torchvision", "hf")  # images that are kept or fetched when they are made


@dataclass(frozen=True)
class Sample:
    """An architecture that was measured to see how long that takes.

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
        architectures: Of them, those that are drawn for the first time, as far as can be told; see
            :func:`asvit.runs.rehearsal.fresh_draws`.
        seconds: Wall-clock time of measuring them.
        low: Lower end of the interval for it.
        high: Upper end.
        samples: What was measured to tell.
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
    are left out: a few seconds. The interval is a prediction interval for the mean of so many
    architectures from so few, and for how many of those drawn are new. It knows nothing of a
    policy that comes to prefer dearer architectures, or of other work that comes and goes.

    Images are noise unless they are read from a folder, since made or fetched ones would be kept.

    Args:
        settings: Of the search.
        workers: Who will measure, as for :func:`asvit.runs.run_search`. They are taken not to slow
            each other down while there are cores, or on a GPU at all, and to be as fast as this
            machine.
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
            may not need everybody.
        device: On a CPU no more workers than cores count.
    """
    workers = min(jobs, cores()) if device == "cpu" else jobs
    return tasks / math.ceil(tasks / workers)


def steps_done(folder: Path, settings: SearchSettings) -> int:
    """Steps that the run in ``folder`` has measured; nothing there is touched.

    Raises:
        ValueError: If it has other settings, or its journal is corrupt.
        OSError: If its journal cannot be read.
    """
    try:
        if SearchResult.read(folder / RESULT).settings == settings:
            return settings.steps
    except (FileNotFoundError, ValueError):
        pass  # it has not ended, or follows from the journal
    if not (folder / JOURNAL).exists():
        return 0
    study = find_study(read_journal(folder / JOURNAL), STUDY)
    if study is None:
        return 0
    check_settings(study, settings, folder)
    return len(measured_trials(study))


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
        shown = replace(settings, data="gaussian") if kind in _ELSEWHERE else settings
        self._single = Evaluator(space, replace(shown, repeats=1), workers=Workers(jobs=1))
        self._whole = Evaluator(space, shown, workers=Workers(jobs=1))
        self.jobs = Evaluator(space, shown, workers=workers).workers.jobs or 1
        self._rng = np.random.default_rng(seed_for(settings.seed, "estimate", 0))
        self.device = self._single.device
        self.failures = 0

    def samples(self, least: int, most: int, seconds: float) -> list[Sample]:
        """Time ``least`` architectures, and for so many seconds more of them, up to ``most``."""
        self._time(self._single, self._draw())  # the first one also warms up
        started = self._clock()
        taken: list[Sample] = []
        while len(taken) < least or (len(taken) < most and self._clock() - started < seconds):
            text = self._draw()
            took, failed = self._time(self._single, text)
            taken.append(Sample(text, took))
            self.failures += failed
        return taken

    def growth(self, samples: Sequence[Sample], seconds: float) -> float:
        """Time with all networks over time with one, from ordinary samples first."""
        middle = statistics.median(sample.seconds for sample in samples)
        started, one, every = self._clock(), 0.0, 0.0
        for sample in sorted(samples, key=lambda sample: abs(sample.seconds - middle)):
            # Counting an architecture is done once, and was: one network again tells what it took.
            again, _ = self._time(self._single, sample.architecture)
            whole, _ = self._time(self._whole, sample.architecture)
            one += sample.seconds
            every += sample.seconds - again + whole
            if self._clock() - started > seconds:
                break
        return max(1.0, every / one)

    def _draw(self) -> str:
        return str(self._space.sample(self._rng))

    def _time(self, evaluate: Evaluator, text: str) -> tuple[float, bool]:
        """Seconds of measuring an architecture, and whether a measure of it failed."""
        started = self._clock()
        measurement = evaluate(text)
        return self._clock() - started, bool(measurement.reasons)


def _margin(samples: Sequence[float], count: float) -> float:
    """How far the mean of ``count`` more may be from that of ``samples``, by a t-interval."""
    from scipy.stats import t

    known = len(samples)
    quantile = float(t.ppf((1 + _CONFIDENCE) / 2, known - 1))
    return quantile * statistics.stdev(samples) * math.sqrt(1 / known + 1 / max(count, 1))

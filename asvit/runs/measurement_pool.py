"""Measures the networks of a run, in this process or in workers; the values are the same."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from asvit.core.shared_settings import MeasuringSettings
from asvit.data import load_images
from asvit.data.base import Progress
from asvit.executors import Pool, Workers, apart_from_garbage, one_thread, open_pool
from asvit.executors.base import Answer
from asvit.executors.placement import device_here, device_of
from asvit.runs.measurement_worker import (
    MeasurementTask,
    MeasuringContext,
    TaskMeasured,
    counted,
    measuring_work,
    network,
)
from asvit.search import Measurement, SearchSettings
from asvit.search.limits import Limits
from asvit.spaces import SearchSpace
from asvit.spaces.base import Architecture
from proxies import Cost, Score, combine, get_proxy, measure
from proxies.evaluation import FAILURES, seed_for
from proxies.messages import fault

T = TypeVar("T")

_SEED_GIGABYTES = 2.0  # that measuring a seed network at 224 px may need
_PIXELS_A_SECOND = 50_000  # of an image, measured with the default measures on one core, roughly


class EvalContext:
    """What all networks of a run are measured on: a device and images.

    ``image_size`` is that of the settings by default; ``progress`` is told of images as they are
    loaded. Where ``workers`` on a Ray cluster measure, this process needs no such device.
    """

    def __init__(
        self,
        settings: MeasuringSettings | Any,
        *,
        image_size: int | None = None,
        workers: Workers | None = None,
        progress: Progress | None = None,
    ) -> None:
        side = settings.image_size if image_size is None else image_size
        self.device = device_of(settings.device, workers)  #: where networks are measured
        here = device_here(self.device, workers)
        images = load_images(
            settings.data,
            count=settings.images,
            image_size=side,
            seed=settings.seed,
            progress=progress,
        )
        #: Where the images came from, and what they are.
        self.provenance: Mapping[str, str] = {"source": images.source, "digest": images.digest}
        #: Channels of the images.
        self.channels = images.channels
        #: What :func:`proxies.measure` takes beside the network, the measures and the key.
        self.arguments: Mapping[str, Any] = {
            "repeats": settings.repeats,
            "seed": settings.seed,
            "image_size": side,
            "images": images.pixels.to(here),  # once, not with every network
            "labels": images.labels if len(images.classes) > 1 else None,
            "device": self.device,
            "points": settings.points,
            "radius": settings.radius,
        }


@dataclass(frozen=True)
class MeasurementJob:
    """A network to measure."""

    architecture: Architecture | str  # workers are sent its text
    names: tuple[str, ...]  # measures to take
    key: str  # seeds its initial weights, beside the run's seed and the repeat
    side: int  # of the images, in pixels
    counted: bool = False  # whether to count its parameters and multiply-adds, too
    refused: str = ""  # why there is no such network, so that all measures fail
    other: Mapping[str, int] = field(default_factory=dict)  # seed and repeats, unless the run's


@dataclass(frozen=True)
class Workload:
    """How much a run has to measure, which decides on the number of workers."""

    networks: int  # about, of which two measures are taken
    at_once: int  # how many are asked for together
    gigabytes: float  # memory of the machine that measuring one of them may need
    # One of them, with the measures of the run. It is measured to see what it takes of a GPU; the
    # largest takes so many times as much.
    example: Callable[[], MeasurementJob] | None = None
    larger: float = 1.0
    # What workers have to know, instead of the example: all measures, and a network of each space.
    known: Sequence[MeasurementJob] = ()


@dataclass(frozen=True)
class Measured:
    """The outcome of a job."""

    scores: Mapping[str, Score]  # all failed, with the reason, if the workers did
    cost: Cost | None = None  # if it was wanted and the workers did not fail


class MeasurementPool:
    """Measures networks, in this process or in workers.

    ``contexts`` is from the side of images to what networks are measured on. Architectures are of
    ``space``, or of any. There are by default as many workers as the workload deserves.

    Attributes:
        device: Where networks are measured.
        workers: The workers, with their number.
    """

    def __init__(
        self,
        contexts: Mapping[int, EvalContext],
        workers: Workers | None,
        workload: Workload,
        *,
        space: SearchSpace | None = None,
        num_classes: int = 1000,
    ) -> None:
        self._contexts = contexts
        context = next(iter(contexts.values()))  # they differ only in their images
        self.device, self._repeats = context.device, context.arguments["repeats"]
        self._space = space
        self._num_classes = num_classes
        self._stack = ExitStack()
        self._workload, example = workload, workload.example
        self.workers = (workers or Workers()).resolved(
            self.device,
            tasks=workload.at_once * self._repeats,
            seconds=workload.networks * self._repeats * max(contexts) ** 2 / _PIXELS_A_SECOND,
            gigabytes=workload.gigabytes,
            example=example and (lambda: self._measure(example())),
            larger=workload.larger,
        )
        if self.workers.in_process:
            self._stack.enter_context(apart_from_garbage())

    def close(self) -> None:
        """Stop the workers."""
        self._stack.close()
        vars(self).pop("_opened", None)

    def measure(self, jobs: Sequence[MeasurementJob]) -> Iterator[tuple[int, Measured]]:
        """Measure networks; gives the index of each job with its outcome, as they end."""
        possible = [number for number, job in enumerate(jobs) if not job.refused]
        for number, job in enumerate(jobs):
            if job.refused:
                yield number, Measured(failed(job.names, job.refused))
            elif self.workers.in_process:
                yield number, self._measure(job)
        if self.workers.in_process or not possible:
            return
        tasks = self._shared_out(
            [(number, task) for number in possible for task in self._tasks(jobs[number])]
        )
        missing = Counter(number for number, _ in tasks)
        answers: dict[int, list[Answer]] = {number: [] for number in possible}
        with closing(self._opened.run([task for _, task in tasks])) as answered:
            for place, answer in answered:
                number = tasks[place][0]
                answers[number].append(answer)
                if len(answers[number]) == missing[number]:
                    yield number, _combined(jobs[number], answers.pop(number))

    @cached_property
    def _opened(self) -> Pool:
        """The workers, started at the first use."""
        space = None if self._space is None else self._space.name
        example = self._workload.example
        known = self._workload.known or ([example()] if example else [])
        context = MeasuringContext(
            {side: one.arguments for side, one in self._contexts.items()},
            space,
            self._num_classes,
            names=tuple(dict.fromkeys(name for job in known for name in job.names)),
            architectures=tuple(str(job.architecture) for job in known if space is None),
        )
        work = measuring_work(context)
        return self._stack.enter_context(open_pool(self.workers, work, self.device))

    def _measure(self, job: MeasurementJob) -> Measured:
        """Measure one network in this process."""
        arch, side = job.architecture, job.side
        in_chans = self._contexts[side].channels
        try:
            with one_thread(self.device):
                scores = measure(
                    lambda: network(
                        arch, side, self._num_classes, in_chans=in_chans, space=self._space
                    ),
                    job.names,
                    key=job.key,
                    **{**self._contexts[side].arguments, **job.other},
                )
        except MemoryError as error:
            return Measured(failed(job.names, str(error) or "out of memory"))
        if not job.counted:
            return Measured(scores)
        size = counted(arch, side, in_chans=in_chans)
        return (
            Measured(failed(job.names, size)) if isinstance(size, str) else Measured(scores, size)
        )

    def _tasks(self, job: MeasurementJob) -> list[MeasurementTask]:
        """What workers are sent: the repeats of a network, one by one."""
        repeats = job.other.get("repeats", self._repeats)
        if not any(get_proxy(name).random for name in job.names):
            repeats = 1
        return [
            MeasurementTask(
                str(job.architecture),
                job.names,
                job.key,
                job.side,
                only=[repeat],
                counted=job.counted and repeat == 0,
                other=job.other,
            )
            for repeat in range(repeats)
        ]

    def _shared_out(
        self, tasks: list[tuple[int, MeasurementTask]]
    ) -> list[tuple[int, MeasurementTask]]:
        """The tasks, of which the last ones, too few for all workers, are split by measures.

        Else, with five networks on two workers, one would wait while the other measures the fifth.
        """
        jobs = self._opened.workers
        whole = len(tasks) - len(tasks) % jobs
        split = [
            (number, replace(task, names=names, counted=task.counted and not part))
            for number, task in tasks[whole:]
            for part, names in enumerate(parts_of(task.names, jobs))
        ]
        return tasks[:whole] + split


def parts_of(names: Sequence[str], jobs: int) -> list[Sequence[str]]:
    """Measures as they are shared among workers, at most one part for each."""
    return [names[part::jobs] for part in range(min(jobs, len(names)))]


def _combined(job: MeasurementJob, answers: Sequence[Answer]) -> Measured:
    """The answers to all tasks of a job together."""
    results: list[TaskMeasured] = [
        answer.result for answer in answers if answer.result is not None
    ]
    sizes = [result.size for result in results if isinstance(result.size, Cost)]
    size = sizes[-1] if sizes else None
    failures = [answer.failure for answer in answers if answer.result is None]
    failures += [result.size for result in results if isinstance(result.size, str)]
    if failures:
        return Measured(failed(job.names, failures[-1]), size)
    whole: defaultdict[int, dict[str, float | str]] = defaultdict(dict)
    for repeat, values in (item for part in results for item in part.readings.items()):
        whole[repeat].update(values)
    return Measured(combine(job.names, results[0].repeats, whole), size)


def failed(names: Sequence[str], why: str) -> dict[str, Score]:
    """Scores of measures that could not be taken."""
    return {name: Score(math.nan, math.nan, (), get_proxy(name).better, why) for name in names}


def in_job_order(outcomes: Iterable[tuple[int, T]]) -> Iterator[T]:
    """The outcomes of jobs in the order of the jobs; those that end early are held back."""
    held: dict[int, T] = {}
    due = 0
    for number, outcome in outcomes:
        held[number] = outcome
        while due in held:
            yield held.pop(due)
            due += 1


class Evaluator(MeasurementPool):
    """Measures architectures of ``space`` as ``settings`` say; ``progress`` is told of images.

    The values follow from the architecture alone: not from its place in a batch, nor, but for
    their last digits on an accelerator, from the workers.

    Raises:
        ValueError: If there are too few images, one cannot be read, or the device is not there.
        OSError: If the images cannot be found, or there is no Ray cluster.
        ImportError: If Ray is asked for and not installed.
    """

    def __init__(
        self,
        space: SearchSpace,
        settings: SearchSettings,
        *,
        workers: Workers | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._checked, self._settings, self._limits = space, settings, Limits(space, settings)
        self.context = EvalContext(settings, workers=workers, progress=progress)
        load = Workload(settings.steps, settings.batch, _SEED_GIGABYTES, self._example)
        super().__init__(
            {settings.image_size: self.context},
            workers,
            load,
            space=space,
            num_classes=self._limits.classes,
        )
        if not self.workers.in_process:
            _ = self._opened  # checks early that Ray and its cluster are there

    def all(
        self, architectures: Sequence[Architecture | str], *, again: bool = False
    ) -> Iterator[Measurement]:
        """Measure several architectures, or those of texts, side by side where there are workers.

        The measurements come in order. ``again`` measures on the settings' ``recheck`` networks
        with other initial weights and another circle, on the same images. An architecture that
        the space rejects, although a choice in each dimension leads to it, has size 0, and all
        its measures have failed.
        """
        fresh = seed_for(self._settings.seed, "measured again")
        other = {"seed": fresh, "repeats": self._settings.recheck} if again else {}
        jobs = [replace(self.job(arch), other=other) for arch in architectures]
        measured = in_job_order(self.measure(jobs))
        for arch, outcome in zip(architectures, measured, strict=True):
            size = outcome.cost
            if self._settings.limited:  # which count the classes of the images
                size = self._limits.cost(arch)
            params, macs = (size.params, size.macs) if size else (0, 0)
            yield Measurement.from_scores(params, macs, outcome.scores)

    def _example(self) -> MeasurementJob:
        """The job of an architecture that the search may draw."""
        return self.job(self._limits.sample(np.random.default_rng(self._settings.seed)))

    def job(self, arch: Architecture | str) -> MeasurementJob:
        """The job that measures an architecture; refused if the space rejects it."""
        names, side, refusal = self._settings.proxies, self._settings.image_size, ""
        try:
            self._checked.check(arch, side)
        except FAILURES as error:
            refusal = fault(error)
        return MeasurementJob(arch, names, str(arch), side, counted=True, refused=refusal)

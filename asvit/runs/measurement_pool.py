"""Measures the networks of a run, in this process or in workers; the values are the same."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch

from asvit.core.shared_settings import MeasuringSettings
from asvit.data import load_images
from asvit.data.base import Progress
from asvit.executors import Pool, Work, Workers, apart_from_garbage, one_thread, open_pool
from asvit.executors.base import Answer
from asvit.executors.placement import device_here, device_of
from asvit.search import Measurement, SearchSettings
from asvit.search.limits import Limits
from asvit.spaces import SearchSpace, build, cost
from asvit.spaces.architectures import known_space
from asvit.spaces.base import Architecture
from proxies import Cost, Score, combine, get_proxy, measure, measure_repeats
from proxies.evaluation import FAILURES, seed_for
from proxies.messages import fault, out_of_memory

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
            # Once, not with every network.
            "images": images.pixels.to(device_here(self.device, workers)),
            "labels": images.labels if len(images.classes) > 1 else None,
            "device": self.device,
            "points": settings.points,
            "radius": settings.radius,
        }


@dataclass(frozen=True)
class MeasurementJob:
    """A network to measure."""

    architecture: Architecture | str  # workers are sent its text
    names: Sequence[str]  # measures to take
    key: str  # seeds its initial weights, beside the run's seed and the repeat
    side: int  # of the images, in pixels
    counted: bool = False  # whether to count its parameters and multiply-adds, too
    refused: str = ""  # why there is no such network, so that all measures fail
    other: Mapping[str, int] = field(default_factory=dict)  # seed and repeats, unless the run's
    only: Sequence[int] | None = None  # repeats that a worker is asked for


@dataclass(frozen=True)
class Workload:
    """How much a run has to measure, which decides on the number of workers."""

    networks: int  # about, of which two measures are taken
    at_once: int  # how many are asked for together
    gigabytes: float  # memory of the machine that measuring one of them may need
    names: Sequence[str] = ()  # measures that workers have to know
    architectures: Sequence[str] = ()  # texts that workers have to know


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
        context = next(iter(contexts.values()))  # they differ only in their images
        self.device, self._repeats = context.device, context.arguments["repeats"]
        arguments = {side: one.arguments for side, one in contexts.items()}
        self._measurer = Measurer(arguments, space, num_classes)
        self._workload, self._stack = workload, ExitStack()
        self.workers = (workers or Workers()).resolved(
            self.device,
            tasks=workload.at_once * self._repeats,
            seconds=workload.networks * self._repeats * max(contexts) ** 2 / _PIXELS_A_SECOND,
            gigabytes=workload.gigabytes,
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
                yield number, self._measurer.whole(job)
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
                    yield number, self._combined(jobs[number], answers.pop(number))

    @cached_property
    def _opened(self) -> Pool:
        """The workers, started at the first use."""
        work = self._measurer.work(self._workload)
        return self._stack.enter_context(open_pool(self.workers, work, self.device))

    def _tasks(self, job: MeasurementJob) -> list[MeasurementJob]:
        """What workers are sent: the repeats of a network, one by one."""
        repeats = job.other.get("repeats", self._repeats)
        if not any(get_proxy(name).random for name in job.names):
            repeats = 1
        text = str(job.architecture)
        return [
            replace(job, architecture=text, only=[repeat], counted=job.counted and repeat == 0)
            for repeat in range(repeats)
        ]

    def _shared_out(
        self, tasks: list[tuple[int, MeasurementJob]]
    ) -> list[tuple[int, MeasurementJob]]:
        """The tasks, of which the last ones, too few for all workers, are split by measures.

        Else, with five networks on two workers, one would wait while the other measures the fifth.
        """
        jobs = self._opened.workers
        whole = len(tasks) - len(tasks) % jobs
        shared = tasks[:whole]
        for number, task in tasks[whole:]:
            parts = [task.names[part::jobs] for part in range(min(jobs, len(task.names)))]
            first, *others = (replace(task, names=names) for names in parts)
            shared += [(number, first), *((number, replace(one, counted=False)) for one in others)]
        return shared

    def _combined(self, job: MeasurementJob, answers: Sequence[Answer]) -> Measured:
        """The answers to all tasks of a job together."""
        done = [answer.result for answer in answers if not answer.failure]
        size = next((size for _, size in done if isinstance(size, Cost)), None)
        failures = [answer.failure for answer in answers if answer.failure]
        failures += [size for _, size in done if isinstance(size, str)]
        if failures:
            return Measured(failed(job.names, failures[-1]), size)
        whole: defaultdict[int, dict[str, float | str]] = defaultdict(dict)
        for readings, _ in done:
            for repeat, values in readings.items():
                whole[repeat].update(values)
        return Measured(combine(job.names, job.other.get("repeats", self._repeats), whole), size)


class Measurer:
    """Measures networks in this process, or in a worker some of the repeats of one.

    ``arguments`` are those of an :class:`EvalContext`, by the side of images.
    """

    def __init__(
        self,
        arguments: Mapping[int, Mapping[str, Any]],
        space: SearchSpace | None,
        num_classes: int,
    ) -> None:
        self._arguments, self._space, self._num_classes = arguments, space, num_classes

    def work(self, workload: Workload) -> Work:
        """What workers are made of; images on a device are sent from the memory."""
        space = None if self._space is None else self._space.name
        context = _on("cpu", self._arguments), space, self._num_classes, workload
        return Work("asvit.runs.measurement_pool:measuring_worker", context)

    def whole(self, job: MeasurementJob) -> Measured:
        """All that is asked of a network."""
        arguments = {**self._arguments[job.side], **job.other}
        try:
            with one_thread(arguments["device"]):
                scores = measure(lambda: self._network(job), job.names, key=job.key, **arguments)
        except MemoryError as error:
            return Measured(failed(job.names, str(error) or "out of memory"))
        size = self._counted(job)
        if isinstance(size, str):
            return Measured(failed(job.names, size))
        return Measured(scores, size)

    def __call__(
        self, job: MeasurementJob
    ) -> tuple[Mapping[int, Mapping[str, float | str]], Cost | str | None]:
        """The readings of some repeats, and the size if it is asked for, or why there is none.

        Raises:
            MemoryError: If there was not enough for it.
        """
        arguments = {**self._arguments[job.side], **job.other, "only": job.only}
        with one_thread(arguments["device"]):
            readings = measure_repeats(
                lambda: self._network(job), job.names, key=job.key, **arguments
            )
        for values in readings.values():
            for what in values.values():
                if isinstance(what, str) and out_of_memory(what):
                    raise MemoryError(what)
        return readings, self._counted(job)

    def _network(self, job: MeasurementJob) -> torch.nn.Module:
        """The freshly initialised network of a job."""
        in_chans = self._arguments[job.side]["images"].shape[1]
        if self._space is None:
            return build(job.architecture, job.side, self._num_classes, in_chans=in_chans)
        sizes = {"image_size": job.side, "num_classes": self._num_classes, "in_chans": in_chans}
        return self._space.build(self._space.read(job.architecture), **sizes)

    def _counted(self, job: MeasurementJob) -> Cost | str | None:
        if not job.counted:
            return None
        in_chans = self._arguments[job.side]["images"].shape[1]
        return counted(job.architecture, job.side, in_chans=in_chans)


def measuring_worker(context: tuple[Any, str | None, int, Workload], device: str) -> Measurer:
    """What measures in a worker; made as executors do it."""
    arguments, space, num_classes, workload = context
    known = known_space(space, workload.names, workload.architectures)
    return Measurer(_on(device, arguments), known, num_classes)


def _on(device: str, arguments: Mapping[int, Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """The arguments of measures with their tensors on a device."""
    moved = dict[int, dict[str, Any]]()
    for side, known in arguments.items():
        tensors = {n: v.to(device) for n, v in known.items() if isinstance(v, torch.Tensor)}
        moved[side] = {**known, **tensors, "device": device}
    return moved


def counted(
    arch: Architecture | str, side: int, num_classes: int = 1000, *, in_chans: int
) -> Cost | str:
    """Parameters and multiply-adds of an architecture, or why they cannot be counted."""
    try:
        return cost(arch, side, num_classes, in_chans=in_chans)
    except MemoryError:
        raise
    except FAILURES as error:
        return fault(error)


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
        load = Workload(settings.steps, settings.batch, _SEED_GIGABYTES, settings.proxies)
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

    def job(self, arch: Architecture | str) -> MeasurementJob:
        """The job that measures an architecture; refused if the space rejects it."""
        names, side, refusal = self._settings.proxies, self._settings.image_size, ""
        try:
            self._checked.check(arch, side)
        except FAILURES as error:
            refusal = fault(error)
        return MeasurementJob(arch, names, str(arch), side, counted=True, refused=refusal)

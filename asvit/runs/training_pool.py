"""Trains the networks of a search, in this process or in workers; the accuracies are the same."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cached_property, partial
from typing import TypeVar

from asvit.data.base import Progress
from asvit.data.sources import Images, open_dataset
from asvit.executors import Pool, Work, Workers, open_pool
from asvit.executors.placement import device_here, device_of
from asvit.runs.measurement_pool import counted, in_job_order
from asvit.search import Measurement, SearchSettings
from asvit.search.limits import Limits
from asvit.search.settings import ACCURACY
from asvit.spaces import SearchSpace
from asvit.spaces.architectures import known_space
from asvit.spaces.base import Architecture
from asvit.training.short import (
    CandidateTrainer,
    Outcome,
    Training,
    failure,
    how_trained,
    load_all,
    outcome_of,
)
from asvit.training.short_settings import CandidateSettings
from proxies import Cost

S = TypeVar("S", CandidateSettings, SearchSettings)

_GIGABYTES = 1.0  # that a training at the default settings may need, with its process
_PIXELS_A_SECOND = 1_500_000  # of images trained on, by one core, roughly
_MADE = ("fractal", "gaussian")  # images that never run out


class TrainingPool:
    """Trains architectures of ``space`` as ``settings`` say; ``progress`` is told of images.

    The accuracy follows from the architecture and the training seed alone.

    Attributes:
        device: Where networks are trained.
        context: Trains one network in this process, and knows the images.
        settings: How networks are trained.

    Raises:
        ValueError: If there are too few images, they have no classes, one cannot be read, or the
            device is not there.
        OSError: If the images cannot be found.
    """

    def __init__(
        self,
        space: SearchSpace,
        settings: SearchSettings,
        *,
        workers: Workers | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.device = device = device_of(settings.device, workers)
        self._space = space
        self._limits = Limits(space, settings)
        self.settings = affordable(settings.training)
        self._images = load_all(self.settings, (self.settings.test_images,), progress)
        self.workers = training_workers(workers, settings, device)
        here = device_here(device, workers)
        self.context = CandidateTrainer(self.settings, here, images=self._images)
        self._stack = ExitStack()
        if not self.workers.in_process:
            _ = self._opened  # checks early that there can be workers

    def all(
        self, architectures: Sequence[Architecture], *, seeds: Sequence[int]
    ) -> Iterator[Measurement]:
        """Train each architecture with its seed; the measurements come in their order."""
        side, classes = self.settings.image_size, self._limits.classes
        in_chans = self._images.channels
        sizes = [counted(arch, side, classes, in_chans=in_chans) for arch in architectures]
        refused = [size if isinstance(size, str) else "" for size in sizes]
        outcomes = self._outcomes(
            [
                Training(str(self._limits.network(arch)), seed)
                for arch, seed, why in zip(architectures, seeds, refused, strict=True)
                if not why
            ]
        )
        for size, why in zip(sizes, refused, strict=True):
            outcome = failure(why) if why else next(outcomes)
            params, macs = (size.params, size.macs) if isinstance(size, Cost) else (0, 0)
            accuracy = math.nan if outcome.reason else outcome.accuracy
            reasons = {ACCURACY: outcome.reason} if outcome.reason else {}
            yield Measurement(params, macs, {ACCURACY: accuracy}, reasons)

    @property
    def lines(self) -> Mapping[str, str]:
        """How networks are trained, and on what, as reference tables say it."""
        return how_trained(self.settings, **self.context.provenance)

    def close(self) -> None:
        """Stop the workers."""
        self._stack.close()
        vars(self).pop("_opened", None)

    def _outcomes(self, jobs: Sequence[Training]) -> Iterator[Outcome]:
        """The outcomes of trainings in their order."""
        if self.workers.in_process:
            for job in jobs:
                try:
                    yield outcome_of(self.context, job)
                except MemoryError as error:
                    yield failure(str(error) or "out of memory")
            return
        with closing(self._opened.run(jobs)) as answers:
            for answer in in_job_order(answers):
                why = answer.failure
                yield failure(why) if why else answer.result

    @cached_property
    def _opened(self) -> Pool:
        """The workers, started at the first use."""
        context = self.settings, self._space.name, self._images
        work = Work("asvit.runs.training_pool:training_worker", context)
        return self._stack.enter_context(open_pool(self.workers, work, self.device))


def training_workers(workers: Workers | None, settings: SearchSettings, device: str) -> Workers:
    """The workers of a search that trains: as many as it deserves, unless given."""
    s = settings.training
    pixels = settings.trainings * s.steps * s.batch_size * s.image_size**2
    return (workers or Workers()).resolved(
        device,
        tasks=settings.batch,
        seconds=pixels / _PIXELS_A_SECOND,
        gigabytes=_GIGABYTES,
    )


def training_worker(
    context: tuple[CandidateSettings, str, Images], device: str
) -> Callable[[Training], Outcome]:
    """What trains in a worker; made and called as executors do it."""
    settings, space, images = context
    known_space(space)
    return partial(outcome_of, CandidateTrainer(settings, device, images=images))


def affordable(settings: CandidateSettings) -> CandidateSettings:
    """The settings with no more images than there are, a fifth of them at least to test on."""
    if settings.data.partition(":")[0] in _MADE:
        return settings
    return with_images(settings, len(open_dataset(settings.data)))


def with_images(settings: S, there: int) -> S:
    """The settings with no more images than so many, a fifth of them at least to test on."""
    if there < 5 or there >= settings.train_images + settings.test_images:
        return settings
    test = min(settings.test_images, max(there - settings.train_images, there // 5))
    return replace(
        settings, test_images=test, train_images=min(settings.train_images, there - test)
    )

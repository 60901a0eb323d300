"""Measures the architectures of a search with the proxies, on the images of its run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asvit.data.base import Progress
from asvit.executors import Workers
from asvit.runs.measurement_pool import (
    EvalContext,
    MeasurementJob,
    MeasurementPool,
    Workload,
    in_order,
)
from asvit.search import Measurement, SearchSettings
from asvit.spaces import SearchSpace
from asvit.spaces.base import Architecture
from proxies.messages import first_line

_GIGABYTES = 2.0  # that measuring a seed network at 224 px may need


class Evaluator:
    """Measures architectures of ``space`` as ``settings`` say; ``progress`` is told of images.

    The values follow from the architecture alone: not from its place in a batch, nor from the
    workers.

    Attributes:
        device: Where networks are measured.
        provenance: Where the images came from (``source``) and what they are (``digest``).

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
        self._space = space
        self._settings = settings
        context = EvalContext(settings, progress=progress)
        self.device = context.device
        self.provenance = context.provenance
        workload = Workload(settings.steps, settings.batch, _GIGABYTES)
        contexts = {settings.image_size: context}
        self._pool = MeasurementPool(contexts, workers, workload, space=space)
        self._pool.open()

    @property
    def workers(self) -> Workers:
        """Processes that measure; none is started before it is needed."""
        return self._pool.workers

    def close(self) -> None:
        """Stop the workers."""
        self._pool.close()

    def all(self, architectures: Sequence[Architecture | str]) -> Iterator[Measurement]:
        """Measure several architectures, or those of texts, side by side where there are workers.

        Yields:
            The measurement of each, in order.
        """
        settings, side = self._settings, self._settings.image_size
        jobs = [
            MeasurementJob(arch, settings.proxies, str(arch), side, True, self._refusal(arch))
            for arch in architectures
        ]
        for found in in_order(self._pool.measure(jobs)):
            params, macs = (found.cost.params, found.cost.macs) if found.cost else (0, 0)
            yield Measurement.from_scores(params, macs, found.scores)

    def __call__(self, arch: Architecture | str) -> Measurement:
        """Measure an architecture, or that of a text; a failed measure is NaN with its reason.

        If the space rejects it, although a choice in each dimension leads to it, all measures
        have failed and its size is 0.
        """
        (measurement,) = self.all([arch])
        return measurement

    def _refusal(self, arch: Architecture | str) -> str:
        """Why the space rejects an architecture; empty if it does not."""
        try:
            self._space.check(arch, self._settings.image_size)
        except ValueError as refusal:
            return first_line(refusal)
        return ""

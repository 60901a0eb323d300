"""Measures architectures with the proxies, on the images of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asvit.data import load_images
from asvit.data.base import Progress
from asvit.executors import Workers
from asvit.growth import ScaleSettings
from asvit.reference.settings import CorrelationSettings
from asvit.runs.crew import Crew, Load
from asvit.runs.measuring import Measured, Order, in_order
from asvit.search import Measurement, SearchSettings
from asvit.spaces import SearchSpace
from proxies.evaluation import resolve_device
from proxies.messages import first_line

_GIGABYTES = 2.0  # that measuring a seed network at 224 px may need


class Bench:
    """What all networks of a run are measured on: a device and images.

    Args:
        settings: Settings of the run.
        image_size: Side of the images in pixels; that of the settings by default.
        progress: Called with how many images are ready, and how many there will be.

    Attributes:
        device: Where networks are measured.
        provenance: Where the images came from (``source``) and what they are (``digest``).
        arguments: What :func:`proxies.measure` takes beside the network, the measures and the key.

    Raises:
        ValueError: If there are too few images, one cannot be read, or the device is not there.
        OSError: If the images cannot be found.
    """

    def __init__(
        self,
        settings: SearchSettings | ScaleSettings | CorrelationSettings,
        *,
        image_size: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        side = settings.image_size if image_size is None else image_size
        if side is None:
            raise ValueError("these settings have no image size of their own; give image_size")
        self.device = str(resolve_device(settings.device))
        images = load_images(
            settings.data,
            count=settings.images,
            image_size=side,
            seed=settings.seed,
            progress=progress,
        )
        self.provenance: Mapping[str, str] = {"source": images.source, "digest": images.digest}
        self.arguments: Mapping[str, Any] = {
            "repeats": settings.repeats,
            "seed": settings.seed,
            "image_size": side,
            "images": images.pixels.to(self.device),  # once, not with every network
            "labels": images.labels if len(images.classes) > 1 else None,
            "device": self.device,
            "points": settings.points,
            "radius": settings.radius,
        }


class Evaluator:
    """Measures architectures of ``space`` as ``settings`` say; the same text, the same values.

    Args:
        space: Space of the architectures.
        settings: What to measure, and on what.
        workers: Who measures; see :class:`Crew`. The values do not depend on it.
        progress: Called with how many images are ready, and how many there will be.

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
        self._bench = Bench(settings, progress=progress)
        self.device = self._bench.device
        self.provenance = self._bench.provenance
        load = Load(settings.steps, settings.batch, _GIGABYTES)
        self._crew = Crew({settings.image_size: self._bench}, workers, load, space=space)
        self._crew.open()

    @property
    def workers(self) -> Workers:
        """Who measures; none of them is started before there is something to do."""
        return self._crew.workers

    def close(self) -> None:
        """Let the workers go."""
        self._crew.close()

    def all(self, texts: Sequence[str]) -> Iterator[Measurement]:
        """Measure several architectures, side by side where there are workers.

        Yields:
            The measurement of each, in order.
        """
        refused = {text: why for text in texts if (why := self._refusal(text))}
        orders = [self._order(text) for text in texts if text not in refused]
        measured = in_order(self._crew.measure(orders))
        for text in texts:
            yield self._failed(refused[text]) if text in refused else _measurement(next(measured))

    def __call__(self, text: str) -> Measurement:
        """Measure the architecture called ``text``; a failed measure is NaN with its reason.

        One that its space refuses, although a choice in each dimension leads to it, has failed
        every measure, and has no size.
        """
        (measurement,) = self.all([text])
        return measurement

    def _refusal(self, text: str) -> str:
        """Why the space refuses an architecture; empty if it does not."""
        try:
            self._space.check(self._space.parse(text), self._settings.image_size)
        except ValueError as refusal:
            return first_line(refusal)
        return ""

    def _order(self, text: str) -> Order:
        return Order(text, self._settings.proxies, text, self._settings.image_size, counted=True)

    def _failed(self, why: str) -> Measurement:
        names = self._settings.proxies
        return Measurement(0, 0, dict.fromkeys(names, math.nan), dict.fromkeys(names, why))


def _measurement(measured: Measured) -> Measurement:
    params, macs = (measured.cost.params, measured.cost.macs) if measured.cost else (0, 0)
    return Measurement.from_scores(params, macs, measured.scores)

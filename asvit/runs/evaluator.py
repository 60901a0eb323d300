"""Measures architectures with the proxies, on the images of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from asvit._text import first_line
from asvit.data import load_images
from asvit.data.base import Progress
from asvit.growth import ScaleSettings
from asvit.reference.settings import CorrelationSettings
from asvit.search import Measurement, SearchSettings
from asvit.spaces import SearchSpace, cost
from proxies import measure
from proxies.evaluation import resolve_device


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
            "images": images.pixels,
            "labels": images.labels if len(images.classes) > 1 else None,
            "device": self.device,
            "points": settings.points,
            "radius": settings.radius,
        }


class Evaluator:
    """Measures an architecture of ``space`` as ``settings`` say; the same text, the same values.

    Args:
        space: Space of the architectures.
        settings: What to measure, and on what.
        progress: Called with how many images are ready, and how many there will be.

    Attributes:
        device: Where networks are measured.
        provenance: Where the images came from (``source``) and what they are (``digest``).

    Raises:
        ValueError: If there are too few images, one cannot be read, or the device is not there.
        OSError: If the images cannot be found.
    """

    def __init__(
        self, space: SearchSpace, settings: SearchSettings, *, progress: Progress | None = None
    ) -> None:
        self._space = space
        self._settings = settings
        self._bench = Bench(settings, progress=progress)
        self.device = self._bench.device
        self.provenance = self._bench.provenance

    def __call__(self, text: str) -> Measurement:
        """Measure the architecture called ``text``; a failed measure is NaN with its reason.

        One that its space refuses, although a choice in each dimension leads to it, has failed
        every measure, and has no size.
        """
        side = self._settings.image_size
        try:
            architecture = self._space.parse(text)
            self._space.check(architecture, side)
        except ValueError as refusal:
            names = self._settings.proxies
            return Measurement(
                0, 0, dict.fromkeys(names, math.nan), dict.fromkeys(names, first_line(refusal))
            )
        scores = measure(
            lambda: self._space.build(architecture, image_size=side),
            self._settings.proxies,
            key=text,
            **self._bench.arguments,
        )
        size = cost(text, image_size=side)
        return Measurement.from_scores(size.params, size.macs, scores)

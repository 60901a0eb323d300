"""Measures architectures with the proxies, on the images of a run."""

from __future__ import annotations

from collections.abc import Mapping

from asvit.data import load_images
from asvit.search import Measurement, SearchSettings
from asvit.spaces import SearchSpace, cost
from proxies import measure
from proxies.evaluation import resolve_device


class Evaluator:
    """Measures an architecture of ``space`` as ``settings`` say; the same text, the same values.

    Args:
        space: Space of the architectures.
        settings: What to measure, and on what.

    Attributes:
        device: Where networks are measured.
        provenance: Where the images came from (``source``) and what they are (``digest``).

    Raises:
        ValueError: If there are too few images, one cannot be read, or the device is not there.
        OSError: If the images cannot be found.
    """

    def __init__(self, space: SearchSpace, settings: SearchSettings) -> None:
        self._space = space
        self._settings = settings
        self.device = str(resolve_device(settings.device))
        images = load_images(
            settings.data,
            count=settings.images,
            image_size=settings.image_size,
            seed=settings.seed,
        )
        self._pixels = images.pixels
        self.provenance: Mapping[str, str] = {"source": images.source, "digest": images.digest}

    def __call__(self, text: str) -> Measurement:
        """Measure the architecture called ``text``; a failed measure is NaN with its reason."""
        architecture = self._space.parse(text)
        chosen = self._settings
        scores = measure(
            lambda: self._space.build(architecture, image_size=chosen.image_size),
            chosen.proxies,
            key=text,
            repeats=chosen.repeats,
            seed=chosen.seed,
            image_size=chosen.image_size,
            images=self._pixels,
            device=self.device,
            points=chosen.points,
            radius=chosen.radius,
        )
        size = cost(text, image_size=chosen.image_size)
        return Measurement.from_scores(size.params, size.macs, scores)

"""Endless labelled images without a download: coloured fractals, one class per function system.

An image is a function of (seed, class, instance, size) alone: every process or worker generates
the same bits, in any order.
"""

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asvit.data.attractors import (
    IfsCode,
    chaos_game,
    coverage,
    draw_code,
    frame,
    histogram,
    paint,
    vary,
)
from asvit.data.base import LabelledImages, Progress, Transform
from asvit.data.cache import mapped_array, write_array

VERSION = 1  # increase when any image changes: cached images and recorded results depend on it
DEFAULT_CLASSES = 1000
MAX_CLASSES = 100_000
MIN_SIZE = 8

_MIN_COVERAGE = 0.2  # about a fifth of random codes cover less: thin lines, stars, specks
_POINTS_PER_PIXEL = 4
_VARIATION = 0.1
_TILT = 0.3  # radians
_SHARD = 256  # images per cached file
_CODES, _IMAGES = 0, 1  # first key of the random streams


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@functools.lru_cache(maxsize=4096)
def class_code(seed: int, label: int) -> IfsCode:
    """Return the function system of class ``label`` in the endless set ``seed``.

    Codes are drawn until one covers enough of the picture.
    """
    rng = _rng(seed, _CODES, label)
    while True:
        code = draw_code(rng)
        points = chaos_game(code, rng, 4096)
        counts, _ = histogram(frame(points), points[2], 32)
        if coverage(counts) >= _MIN_COVERAGE:
            return code


def fractal_image(seed: int, label: int, instance: int, *, size: int) -> NDArray[np.uint8]:
    """Draw one image of a class.

    Instances vary slightly in the code, and in tilt, zoom, mirroring, palette and background. The
    same instance at another size is the same scene. The picture is ``[size, size, 3]``, at least 8
    pixels per side; time grows with the square (about 1 ms at 64).
    """
    # A stream separate from the walk, whose number of draws depends on the size.
    look = _rng(seed, _IMAGES, label, instance, 0)
    walk = _rng(seed, _IMAGES, label, instance, 1)
    code = vary(class_code(seed, label), look, _VARIATION)
    angle, zoom = look.uniform(-_TILT, _TILT), look.uniform(0.85, 1.1)
    flips = look.random(2) < 0.5
    points = chaos_game(code, walk, _POINTS_PER_PIXEL * size * size)
    xy = frame(points, angle, zoom)
    xy[flips] = 1 - xy[flips]
    counts, hue = histogram(xy, points[2], size)
    return paint(counts, hue, look)


def check_classes(classes: int) -> None:
    """Refuse a number of classes that there are none of, or too many."""
    if not 1 <= classes <= MAX_CLASSES:
        raise ValueError(f"{classes} fractal classes; use 1 to {MAX_CLASSES}")


class FractalDataset(LabelledImages):
    """Fractal images as a dataset, in the order class 0, 1, ..., class 0, 1, ...

    Any prefix is therefore balanced over the classes. ``dataset[i]`` generates the image, or reads
    it where ``prepare`` has cached it.

    Args:
        classes: Number of classes.
        per_class: Images of each class.
        image_size: Pixels per side.
        seed: Seed of the endless set, which determines the classes.
        first: First instance of each class; a validation set starts where training ends.
        transform: Applied to each picture.
        cache: Folder to cache images in; None for no cache.
    """

    def __init__(
        self,
        classes: int = DEFAULT_CLASSES,
        per_class: int = 100,
        image_size: int = 224,
        *,
        seed: int = 0,
        first: int = 0,
        transform: Transform | None = None,
        cache: Path | None = None,
    ) -> None:
        check_classes(classes)
        if per_class < 1:
            raise ValueError(f"{per_class} images per class; use 1 or more")
        if image_size < MIN_SIZE:
            raise ValueError(f"image size {image_size}; use {MIN_SIZE} or more")
        if seed < 0 or first < 0:
            raise ValueError(f"seed {seed}, first instance {first}; use 0 or more")
        super().__init__(
            f"fractal images, {classes} classes, seed {seed}, generator {VERSION}",
            tuple(f"fractal-{label:05d}" for label in range(classes)),
            np.arange(classes * per_class, dtype=np.int64) % classes,
            transform=transform,
        )
        self.image_size = image_size
        self.seed = seed
        self.first = first
        self.cache = cache

    def picture(self, index: int) -> Image.Image:
        """Return image ``index``, from the cache or generated."""
        begin, row = index - index % _SHARD, index % _SHARD
        cached = self._cached(begin, min(begin + _SHARD, len(self)))
        return Image.fromarray(self._draw(index) if cached is None else np.array(cached[row]))

    def name(self, index: int) -> str:
        """Return the parameters of image ``index``: generator, set, class and instance."""
        instance, label = divmod(index, len(self.classes))
        return f"fractal-{VERSION}-{self.seed}-{label}-{self.first + instance}"

    def load(self, count: int, *, progress: Progress | None = None) -> NDArray[np.uint8]:
        """The first ``count`` images ``[count, image_size, image_size, 3]``, of ``len(self)``.

        Those that had to be generated are cached. ``progress`` is called with the number of images
        that are ready, and ``count``.
        """
        shards = [self._shard(begin, count, progress)[0] for begin in range(0, count, _SHARD)]
        return np.concatenate(shards)

    def prepare(self, *, progress: Progress | None = None) -> None:
        """Generate and cache all missing images; stop once one cannot be cached.

        ``progress`` is called with the number of images that are ready, and ``len(self)``.
        """
        if self.cache is None:
            raise ValueError("this dataset has no cache folder; give cache=")
        for begin in range(0, len(self), _SHARD):
            if not self._shard(begin, len(self), progress)[1]:
                return

    def _shard(
        self, begin: int, stop: int, progress: Progress | None
    ) -> tuple[NDArray[np.uint8], bool]:
        """Images from ``begin`` to the end of their file or ``stop``; whether they are cached."""
        end = min(begin + _SHARD, stop)
        cached = self._cached(begin, end)
        if cached is not None:
            if progress is not None:
                progress(end, stop)
            return cached, True
        pictures = np.empty((end - begin, self.image_size, self.image_size, 3), np.uint8)
        for index in range(begin, end):
            pictures[index - begin] = self._draw(index)
            if progress is not None:
                progress(index + 1, stop)
        file = self._file(begin, end)
        return pictures, file is not None and write_array(file, pictures)

    def _draw(self, index: int) -> NDArray[np.uint8]:
        instance, label = divmod(index, len(self.classes))
        return fractal_image(self.seed, label, self.first + instance, size=self.image_size)

    def _file(self, begin: int, end: int) -> Path | None:
        """The cached file of images ``begin`` to ``end``, named by their parameters."""
        if self.cache is None:
            return None
        offset = self.first * len(self.classes)
        folder = f"seed{self.seed}-classes{len(self.classes)}-size{self.image_size}"
        return self.cache / f"fractals-{VERSION}" / folder / f"{offset + begin}-{offset + end}.npy"

    def _cached(self, begin: int, end: int) -> NDArray[np.uint8] | None:
        """The images in a cached file; None where it is missing or damaged."""
        if (file := self._file(begin, end)) is None:
            return None
        stored = mapped_array(file)
        shape = (end - begin, self.image_size, self.image_size, 3)
        fits = stored is not None and stored.dtype == np.uint8 and stored.shape == shape
        return stored if fits else None

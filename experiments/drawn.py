"""Generated pictures of simple objects on textured grounds, with distractors.

Five classes (star, ring, cross, arrow, spiral) in random colours, sizes, shapes and places, turned
at random, on noise, gratings and gradients, among strokes and blobs. Equal arguments give equal
pictures.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from asvit.data.base import LabelledImages

Array = NDArray[np.float64]
Colour = tuple[int, int, int]

FINER = 4  # pictures are drawn so much larger, then scaled down
TILT = 0.4  # radians by which objects are turned at most
CONTRAST = 120.0  # least distance of an object's colour to the mean of its ground, of 442


def _ring(angles: Array, radius: Array | float) -> Array:
    """Points around the centre, ``[points, 2]``."""
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def star(rng: np.random.Generator) -> tuple[Array, float]:
    """A star of five to seven tips, as an outline to fill."""
    tips = int(rng.integers(5, 8))
    radius = np.where(np.arange(2 * tips) % 2, rng.uniform(0.35, 0.5), 1.0)
    return _ring(np.arange(2 * tips) * math.pi / tips, radius), 0.0


def ring(rng: np.random.Generator) -> tuple[Array, float]:
    """A closed line."""
    return _ring(np.linspace(0, 2 * math.pi, 60), 0.85), rng.uniform(0.2, 0.4)


def cross(rng: np.random.Generator) -> tuple[Array, float]:
    """Two bars, as an outline to fill."""
    w = rng.uniform(0.2, 0.35)
    corner = [(1, w), (w, w), (w, 1), (-w, 1)]
    turns = [[(x, y), (-y, x), (-x, -y), (y, -x)] for x, y in corner]
    return np.array([turns[k][turn] for turn in range(4) for k in (0, 1, 2)]), 0.0


def arrow(rng: np.random.Generator) -> tuple[Array, float]:
    """A shaft with a head, as an outline to fill."""
    w, head, wide = rng.uniform(0.12, 0.25), rng.uniform(-0.1, 0.4), rng.uniform(0.55, 0.8)
    half = [(-1, w), (head, w), (head, wide), (1, 0)]
    return np.array([*half, *((x, -y) for x, y in reversed(half[:-1]))]), 0.0


def spiral(rng: np.random.Generator) -> tuple[Array, float]:
    """A line that winds outwards, in either direction."""
    turns = rng.uniform(1.8, 2.6)
    angles = np.linspace(0, 2 * math.pi * turns, 120)
    return _ring(angles * rng.choice([-1, 1]), angles / angles[-1]), rng.uniform(0.12, 0.2)


#: Class -> draws an outline within the unit circle, and the width of its line; 0 fills it.
SHAPES: Mapping[str, Callable[[np.random.Generator], tuple[Array, float]]] = {
    "star": star,
    "ring": ring,
    "cross": cross,
    "arrow": arrow,
    "spiral": spiral,
}


class NumberedPictures(LabelledImages):
    """Generated pictures by their numbers; those of a number are the same in every set.

    A subclass draws them in :meth:`draw`.

    Args:
        source: What they are, in words.
        classes: Names of the classes.
        numbers: Number of each picture; its class is its remainder by the number of classes.
        side: Pixels per side.
    """

    def __init__(
        self, source: str, classes: Sequence[str], numbers: Sequence[int], side: int
    ) -> None:
        self._numbers, self._side = numbers, side
        labels = np.array(numbers, dtype=np.int64) % len(classes)
        super().__init__(source, tuple(classes), labels)

    def picture(self, index: int) -> Image.Image:
        """Return picture ``index`` of the set."""
        rng = np.random.default_rng([0, self._numbers[index]])
        return self.draw(self.classes[self.labels[index]], rng)

    @abstractmethod
    def draw(self, name: str, rng: np.random.Generator) -> Image.Image:
        """A picture of the class ``name``."""


class DrawnPictures(NumberedPictures):
    """Drawn pictures by their numbers."""

    def __init__(self, numbers: Sequence[int], side: int) -> None:
        super().__init__("drawn objects on textured grounds", list(SHAPES), numbers, side)

    def draw(self, name: str, rng: np.random.Generator) -> Image.Image:
        """An object on a ground, among distractors."""
        whole = ground(rng, self._side)
        behind = np.asarray(whole).mean(axis=(0, 1))
        canvas = whole.resize((FINER * self._side,) * 2, Image.Resampling.BICUBIC)
        pen = ImageDraw.Draw(canvas)
        for _ in range(rng.integers(1, 3)):
            distractor(rng, pen, canvas.width)
        outline, width = SHAPES[name](rng)
        radius = canvas.width * rng.uniform(0.32, 0.42)
        centre = rng.uniform(radius, canvas.width - radius, 2)
        points = centre + radius * outline @ _turned(rng, most=TILT)
        paint(pen, points, radius * width, colour_apart(rng, behind))
        for _ in range(rng.integers(0, 2)):
            distractor(rng, pen, canvas.width, largest=0.06)
        small = canvas.resize((self._side,) * 2, Image.Resampling.BOX)
        noise = rng.normal(0, rng.uniform(0, 8), (self._side, self._side, 3))
        return Image.fromarray(_bytes(np.asarray(small) + noise))


def ground(rng: np.random.Generator, side: int) -> Image.Image:
    """A ground of two colours, mixed by a gradient, a grating or noise of random coarseness."""
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    angle = rng.uniform(0, 2 * math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    kind = rng.integers(3)
    if kind == 0:
        mixed = (along + 1.5) / 3
    elif kind == 1:
        mixed = (1 + np.sin(along * rng.uniform(4, 30) + rng.uniform(0, 6))) / 2
    else:
        cells = int(rng.integers(3, side // 3))
        coarse = Image.fromarray(_bytes(rng.uniform(0, 255, (cells, cells))))
        smooth = coarse.resize((side, side), Image.Resampling.BICUBIC)
        mixed = np.asarray(smooth, dtype=np.float64) / 255
    first, second = rng.uniform(0, 255, (2, 3))
    return Image.fromarray(_bytes(first + mixed[..., None] * (second - first)))


def distractor(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, side: int, *, largest: float = 0.18
) -> None:
    """A bent stroke or a blob, smaller than an object."""
    colour = _colour(rng.uniform(0, 255, 3))
    centre, size = rng.uniform(0, side, 2), side * rng.uniform(0.03, largest)
    if rng.random() < 0.5:
        points = centre + size * _ring(np.linspace(0, 2 * math.pi, 24), 1.0) @ _turned(rng)
        paint(draw, points, 0.0, colour)
        return
    bend = np.linspace(0, rng.uniform(0.3, 2.5), 12)
    points = centre + 2 * size * _ring(bend, 1.0) @ _turned(rng)
    paint(draw, points, size * rng.uniform(0.1, 0.4), colour)


def paint(draw: ImageDraw.ImageDraw, points: Array, width: float, colour: Colour) -> None:
    """Draw a line of a width through points ``[n, 2]``, or fill their outline if it is 0."""
    path = [(float(x), float(y)) for x, y in points]
    if width:
        draw.line(path, fill=colour, width=max(1, round(width)), joint="curve")
    else:
        draw.polygon(path, fill=colour)


def colour_apart(rng: np.random.Generator, behind: Array) -> Colour:
    """A random colour that differs from another one."""
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.linalg.norm(colour - behind) >= CONTRAST:
            return _colour(colour)


def _turned(rng: np.random.Generator, most: float = math.pi) -> Array:
    """A random rotation by at most so many radians with a slight stretch, ``[2, 2]``."""
    angle = rng.uniform(-most, most)
    cos, sin = math.cos(angle), math.sin(angle)
    short = rng.uniform(0.7, 1.0)
    return np.array([[cos, sin], [-short * sin, short * cos]])


def _colour(values: Array) -> Colour:
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _bytes(values: Array) -> NDArray[np.uint8]:
    return values.clip(0, 255).astype(np.uint8)

"""Generated textures: ten classes by their pattern, in random colours, scales, turns and lights.

Nothing but the pattern tells a class: there is no object and no place. Equal arguments give equal
pictures.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from experiments.drawn import Array, NumberedPictures

#: From coordinates ``[S, S]`` in periods of the pattern to its brightness from 0 to 1.
Pattern = Callable[[np.random.Generator, Array, Array], Array]

NOISE = 40.0  # largest standard deviation of the noise, of 255


def _stripes(_rng: np.random.Generator, u: Array, _v: Array) -> Array:
    return 0.5 + 0.5 * np.sin(2 * math.pi * u)


def _waves(rng: np.random.Generator, u: Array, v: Array) -> Array:
    return _stripes(rng, u + 0.35 * np.sin(2 * math.pi * v * rng.uniform(0.4, 0.8)), v)


def _checks(_rng: np.random.Generator, u: Array, v: Array) -> Array:
    return np.asarray((np.floor(2 * u) + np.floor(2 * v)) % 2, dtype=np.float64)


def _parquet(rng: np.random.Generator, u: Array, v: Array) -> Array:
    across = _checks(rng, u, v)
    return np.where(across > 0, _stripes(rng, 2 * u, v), _stripes(rng, 2 * v, u))


def _bricks(rng: np.random.Generator, u: Array, v: Array) -> Array:
    joint = rng.uniform(0.12, 0.2)
    along = (u + 0.5 * (np.floor(2 * v) % 2)) % 1
    return np.where((along > joint) & ((2 * v) % 1 > joint), 1.0, 0.0)


def _dots(rng: np.random.Generator, u: Array, v: Array) -> Array:
    distance = np.hypot(u % 1 - 0.5, v % 1 - 0.5)
    return np.where(distance < rng.uniform(0.22, 0.36), 1.0, 0.0)


def _cells(rng: np.random.Generator, u: Array, v: Array) -> Array:
    return np.minimum(_nearest(rng, u, v)[0], 1.0)


def _cracks(rng: np.random.Generator, u: Array, v: Array) -> Array:
    first, second = _nearest(rng, u, v)
    return np.minimum((second - first) / rng.uniform(0.15, 0.3), 1.0)


def _clouds(rng: np.random.Generator, u: Array, _v: Array) -> Array:
    return _filtered(rng, len(u), lambda frequency: 1 / (1 + frequency) ** 2)


def _grain(rng: np.random.Generator, u: Array, v: Array) -> Array:
    wanted = len(u) * np.hypot(u[0, 1] - u[0, 0], v[0, 1] - v[0, 0])
    return _filtered(
        rng, len(u), lambda frequency: np.exp(-((frequency / wanted - 1) ** 2) / 0.05)
    )


#: Class -> its pattern.
PATTERNS: Mapping[str, Pattern] = {
    "stripes": _stripes,
    "waves": _waves,
    "checks": _checks,
    "parquet": _parquet,
    "bricks": _bricks,
    "dots": _dots,
    "cells": _cells,
    "cracks": _cracks,
    "clouds": _clouds,
    "grain": _grain,
}


class Textures(NumberedPictures):
    """Textures by their numbers, with the fewest and most ``periods`` across a picture."""

    def __init__(
        self, numbers: Sequence[int], side: int, *, periods: tuple[float, float] = (2.5, 6)
    ) -> None:
        self._periods = periods
        super().__init__("generated textures", list(PATTERNS), numbers, side)

    def draw(self, name: str, rng: np.random.Generator) -> Image.Image:
        """A pattern in two colours."""
        x, y = np.meshgrid(*[np.linspace(0, 1, self._side, endpoint=False)] * 2)
        periods, angle = rng.uniform(*self._periods), rng.uniform(0, 2 * math.pi)
        bent = rng.uniform(0, 0.04)  # a slight bend of the whole pattern
        x, y = (
            x + bent * np.sin(2 * math.pi * y + rng.uniform(0, 6)),
            y + bent * np.sin(2 * math.pi * x + rng.uniform(0, 6)),
        )
        u = periods * (x * math.cos(angle) + y * math.sin(angle)) + rng.uniform(0, 1)
        v = periods * (y * math.cos(angle) - x * math.sin(angle)) + rng.uniform(0, 1)
        mixed = PATTERNS[name](rng, u, v)
        first = rng.uniform(0, 255, 3)
        second = first + rng.uniform(40, 160, 3) * rng.choice([-1, 1], 3)
        light = 1 + rng.uniform(0, 0.5) * np.sin(2 * (x * rng.normal() + y * rng.normal()))
        colours = (first + mixed[..., None] * (second - first)) * light[..., None]
        noisy = colours + rng.normal(0, rng.uniform(0, NOISE), colours.shape)
        return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _nearest(rng: np.random.Generator, u: Array, v: Array) -> tuple[Array, Array]:
    """Distances to the nearest and the second of random points, one in each period."""
    corners = [np.floor(axis.min()) - 1 for axis in (u, v)]
    counts = [
        int(np.ceil(axis.max()) + 1 - low) for axis, low in zip((u, v), corners, strict=True)
    ]
    grid = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, 2)
    points = grid + np.array(corners) + rng.uniform(0, 1, grid.shape)
    distances = np.hypot(u[..., None] - points[:, 0], v[..., None] - points[:, 1])
    first, second = np.partition(distances, 1, axis=-1)[..., :2].transpose(2, 0, 1)
    return first, second


def _filtered(rng: np.random.Generator, side: int, gain: Callable[[Array], Array]) -> Array:
    """Noise with a spectrum, from 0 to 1; frequencies are in periods of the picture."""
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side, 1 / side)] * 2))
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) * gain(frequency)).real
    low, high = np.quantile(field, [0.02, 0.98])
    return np.asarray(((field - low) / (high - low)).clip(0, 1))

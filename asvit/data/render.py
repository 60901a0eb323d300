"""Renders the points of an attractor as a coloured picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

_STRETCH = 2.0  # largest ratio of the scales of the axes, which fill the frame separately
_DARK, _LIGHT = (0.0, 0.35), (0.5, 1.0)  # channel values of dark background and light ink
_GROUND = 4  # cells per side of the grid from which the background is interpolated


def frame(points: Floats, angle: float = 0.0, zoom: float = 1.0) -> Floats:
    """Rotate, scale and shift points so that they fill the unit square.

    Args:
        points: x, y and any further rows, ``[>= 2, P]``.
        angle: Rotation, radians.
        zoom: 1 shows all except the outermost points; more crops, less leaves a border.

    Returns:
        x and y, ``[2, P]``; points outside [0, 1) are outside the picture.
    """
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    turned = np.stack([cos * points[0] - sin * points[1], sin * points[0] + cos * points[1]])
    sample = np.sort(turned[:, :: max(1, turned.shape[1] // 4096)], axis=1)
    edge = sample.shape[1] // 200  # a few outliers must not shrink all other points
    low, high = sample[:, edge], sample[:, -1 - edge]
    size = np.maximum(high - low, np.float32(1e-6))
    size = np.maximum(size, size.max() / np.float32(_STRETCH)) / np.float32(zoom)
    scaled: Floats = (turned - ((low + high) / 2)[:, None]) / size[:, None] + np.float32(0.5)
    return scaled


def histogram(xy: Floats, hue: Floats, size: int) -> tuple[NDArray[np.int64], Floats]:
    """Count the points on each pixel and average their colour coordinate.

    Args:
        xy: Framed points, ``[2, P]``.
        hue: Colour coordinate of each point, ``[P]``.
        size: Pixels per side, S.

    Returns:
        Counts and mean hue, ``[S, S]`` each; the hue of an untouched pixel is 0.
    """
    cell = np.floor(xy * np.float32(size)).astype(np.int32)
    inside = ((cell >= 0) & (cell < size)).all(axis=0)
    # Points outside go to an extra bin, cut off below: cheaper than selecting those inside.
    index = np.where(inside, cell[1] * size + cell[0], size * size)
    counts = np.bincount(index, minlength=size * size + 1)[:-1]
    sums = np.bincount(index, hue, size * size + 1)[:-1]
    mean = (sums / np.maximum(counts, 1)).astype(np.float32)
    return counts.reshape(size, size), mean.reshape(size, size)


def coverage(counts: NDArray[np.int64]) -> float:
    """Effective share of the picture that the points cover, in (0, 1].

    The perplexity of the histogram over its number of pixels: 1 when all pixels have equally many
    points, near 0 when a few have almost all.
    """
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()) / counts.size)


def paint(counts: NDArray[np.int64], hue: Floats, rng: np.random.Generator) -> Picture:
    """Colour a histogram: a random palette over a smooth random background, one of them dark.

    Args:
        counts: Points on each pixel, ``[S, S]``.
        hue: Mean colour coordinate of each pixel, in [0, 1], ``[S, S]``.
        rng: Source of randomness; the number of draws does not depend on S.

    Returns:
        ``[S, S, 3]``.
    """
    ground = _scale(rng.random((_GROUND, _GROUND, 3)), *_DARK)
    palette = _scale(_waves(rng), *_LIGHT)
    if rng.random() < 0.5:
        ground, palette = 1 - ground, 1 - palette
    # Pillow resizes in integers, with the same result on every machine.
    blurred = Image.fromarray((ground * 255).astype(np.uint8)).resize(
        counts.shape, Image.Resampling.BICUBIC
    )
    below = np.asarray(blurred, np.float32)
    ink = (palette * 255).astype(np.float32)[(hue * 255).astype(np.uint8)]
    return (below + _opacity(counts)[..., None] * (ink - below)).astype(np.uint8)


def _opacity(counts: NDArray[np.int64]) -> Floats:
    """Logarithmic opacity of a histogram, in [0, 1]; 0 for pixels without points."""
    hit = np.sort(counts[counts > 0])
    # The highest 5 % saturate; scaled by the maximum, they would leave the others dim.
    full = max(2, hit[int(0.95 * (len(hit) - 1))]) if len(hit) else 2
    tone: Floats = (np.log1p(np.arange(full + 1)) / np.log1p(full)).astype(np.float32)
    return tone[np.minimum(counts, full)]


def _waves(rng: np.random.Generator) -> NDArray[np.float64]:
    """A smooth palette, ``[256, 3]`` in [0, 1]: a cosine for each of red, green and blue."""
    turns, phase = rng.uniform(0.3, 1.2, 3), rng.random(3)
    return 0.5 + 0.5 * np.cos(2 * np.pi * (np.linspace(0, 1, 256)[:, None] * turns + phase))


def _scale(unit: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return low + (high - low) * unit

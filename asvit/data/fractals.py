"""Endless labelled images without a download: coloured fractals, one class per function system.

An image is a function of (seed, class, instance, size) alone. An iterated function system is a set
of contracting affine maps ``x -> A_i x + b_i``, each with a probability; the chaos game draws its
attractor by applying randomly picked maps to points.

References:
    Kataoka et al. 2021, "Pre-training without Natural Images", arXiv:2101.08515: a code is a
    class. Nakashima et al. 2021, arXiv:2103.13023: the same with colour, for transformers.
    Anderson and Farrell 2022, "Improving Fractal Pre-training", arXiv:2110.03091: codes drawn
    through their singular values.
    Draves and Reckase 2003, "The Fractal Flame Algorithm": the colour coordinate.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from asvit.data.base import LabelledImages, Progress
from asvit.data.cache import decode
from asvit.data.preparation import Preparation

VERSION = 1  # increase when any image changes: cached images and recorded results depend on it
DEFAULT_CLASSES = 1000
MAX_CLASSES = 100_000
MIN_SIZE = 8

_MIN_COVERAGE = 0.2  # about a fifth of random codes cover less: thin lines, stars, specks
_POINTS_PER_PIXEL = 4
_VARIATION = 0.1
_TILT = 0.3  # radians
_CODES, _IMAGES = 0, 1  # first key of the random streams

Floats = NDArray[np.float64]
Points = NDArray[np.float32]
Bytes = NDArray[np.uint8]

MAPS = (2, 8)  # fewest and most maps of a code
SIGMA_MAX = 0.95  # largest singular value: every map contracts, so the attractor exists
_PICKS = 256  # each map is picked by one random byte
_SETTLE = 16  # steps until the points follow the attractor's measure
_STRETCH = 2.0  # largest ratio of the scales of the axes, which fill the frame separately
_DARK, _LIGHT = (0.0, 0.35), (0.5, 1.0)  # channel values of dark background and light ink
_GROUND = 4  # cells per side of the grid from which the background is interpolated


@dataclass(frozen=True)
class IfsCode:
    """One iterated function system of ``N`` maps ``x -> R(theta) S R(phi) D x + b``.

    The maps are stored as factors, so that a variation of each still contracts: R is a rotation, S
    has the singular values, D is a reflection. All fields are ``[N, 2]``.
    """

    angles: Floats  # theta and phi of each map, radians
    sigma: Floats  # singular values, larger first, in [0, SIGMA_MAX]
    signs: Floats  # diagonal of D, -1 or 1
    shifts: Floats  # b

    @property
    def matrices(self) -> Floats:
        """The linear parts A, ``[N, 2, 2]``."""
        outer, inner = _rotations(self.angles[:, 0]), _rotations(self.angles[:, 1])
        scaled = outer * self.sigma[:, None, :]
        # Not a matrix product, since BLAS could round differently on another machine.
        product: Floats = scaled[:, :, :1] * inner[:, :1, :] + scaled[:, :, 1:] * inner[:, 1:, :]
        product *= self.signs[:, None, :]
        return product

    @property
    def probabilities(self) -> Floats:
        """Probability of each map, ``[N]``: by the area it covers, and never zero."""
        area = self.sigma.prod(axis=1) + 0.02
        share: Floats = area / area.sum()
        return share

    @property
    def fixed_points(self) -> Floats:
        """The fixed point of each map, ``[N, 2]``; all lie on the attractor."""
        (a, b), (c, d) = np.moveaxis(np.eye(2) - self.matrices, 0, -1)
        x, y = self.shifts.T
        adjugate = np.stack([d * x - b * y, a * y - c * x], axis=1)
        points: Floats = adjugate / (a * d - b * c)[:, None]
        return points


def _rotations(angles: Floats) -> Floats:
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([cos, -sin, sin, cos], axis=1).reshape(-1, 2, 2)


def draw_code(rng: np.random.Generator) -> IfsCode:
    """Draw a code of 2 to 8 maps with uniform angles, signs and shifts in [-1, 1]."""
    maps = int(rng.integers(MAPS[0], MAPS[1] + 1))
    return IfsCode(
        angles=rng.uniform(-np.pi, np.pi, (maps, 2)),
        sigma=draw_singular_values(rng, maps),
        signs=np.where(rng.random((maps, 2)) < 0.5, -1.0, 1.0),
        shifts=rng.uniform(-1.0, 1.0, (maps, 2)),
    )


def draw_singular_values(rng: np.random.Generator, maps: int) -> Floats:
    """Draw singular values ``[N, 2]`` whose weighted sum makes a well-spread attractor.

    With ``alpha = sum_i (sigma_i1 + 2 sigma_i2)``, Anderson and Farrell (section 3) find that
    attractors look best for ``(5 + N) / 2 <= alpha <= (6 + N) / 2``. Here a Dirichlet draw divides
    alpha among the N maps, then each share is split between the two values.
    """
    alpha = rng.uniform(5 + maps, 6 + maps) / 2
    while True:
        share = alpha * rng.dirichlet(np.full(maps, 2.0))
        if share.max() <= 3 * SIGMA_MAX:
            break
    smaller = rng.uniform(np.maximum(0.0, (share - SIGMA_MAX) / 2), share / 3)
    return np.stack([share - 2 * smaller, smaller], axis=1)


def vary(code: IfsCode, rng: np.random.Generator, amount: float) -> IfsCode:
    """Vary every angle, singular value and shift of ``code`` by ``amount`` at most."""
    sigma = code.sigma * rng.uniform(1 - amount, 1 + amount, code.sigma.shape)
    return replace(
        code,
        angles=code.angles + rng.uniform(-amount, amount, code.angles.shape),
        sigma=np.minimum(sigma, SIGMA_MAX),
        shifts=code.shifts + rng.uniform(-amount, amount, code.shifts.shape) / 2,
    )


def chaos_game(code: IfsCode, rng: np.random.Generator, points: int) -> Points:
    """Apply randomly picked maps to many points in parallel: ``[3, points or a few more]``.

    The points start at the maps' fixed points, which are on the attractor. Beside x and y, a
    colour in [0, 1] moves half-way to the index of the map at each step.
    """
    maps = len(code.sigma)
    colours = np.arange(maps) / (2 * (maps - 1))
    row = np.column_stack([code.matrices.reshape(maps, 4), code.shifts, colours])
    edges = np.cumsum(code.probabilities)[:-1]
    picked = np.searchsorted(edges, (np.arange(_PICKS) + 0.5) / _PICKS)
    table = np.ascontiguousarray(row[picked].T, dtype=np.float32)  # [7, 256]

    walkers = max(256, points // 32)
    steps = -(-points // walkers)
    picks = np.frombuffer(rng.bytes((steps + _SETTLE) * walkers), np.uint8)
    picks = picks.reshape(-1, walkers)
    start = code.fixed_points.astype(np.float32)[np.arange(walkers) % maps]
    x, y, c = start[:, 0], start[:, 1], np.full(walkers, 0.5, np.float32)
    path = np.empty((3, steps, walkers), np.float32)
    for step, pick in enumerate(picks, start=-_SETTLE):
        m = table.take(pick, axis=1)  # [7, walkers]
        x, y = m[0] * x + m[1] * y + m[4], m[2] * x + m[3] * y + m[5]
        c = np.float32(0.5) * c + m[6]
        if step >= 0:
            path[:, step] = x, y, c
    return path.reshape(3, -1)


def frame(points: Points, angle: float = 0.0, zoom: float = 1.0) -> Points:
    """Rotate by radians, scale and shift ``[2, P]`` points, so that they fill the unit square."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    turned = np.stack([cos * points[0] - sin * points[1], sin * points[0] + cos * points[1]])
    sample = np.sort(turned[:, :: max(1, turned.shape[1] // 4096)], axis=1)
    edge = sample.shape[1] // 200  # a few outliers must not shrink all other points
    low, high = sample[:, edge], sample[:, -1 - edge]
    size = np.maximum(high - low, np.float32(1e-6))
    size = np.maximum(size, size.max() / np.float32(_STRETCH)) / np.float32(zoom)
    scaled: Points = (turned - ((low + high) / 2)[:, None]) / size[:, None] + np.float32(0.5)
    return scaled


def histogram(xy: Points, hue: Points, size: int) -> tuple[NDArray[np.int64], Points]:
    """Number of framed points ``[2, P]`` on each pixel and mean of their hue: ``[S, S]`` each."""
    cell = np.floor(xy * np.float32(size)).astype(np.int32)
    inside = ((cell >= 0) & (cell < size)).all(axis=0)
    # Points outside go to an extra bin, cut off below: cheaper than selecting those inside.
    index = np.where(inside, cell[1] * size + cell[0], size * size)
    counts = np.bincount(index, minlength=size * size + 1)[:-1]
    sums = np.bincount(index, hue, size * size + 1)[:-1]
    mean = (sums / np.maximum(counts, 1)).astype(np.float32)
    return counts.reshape(size, size), mean.reshape(size, size)


def coverage(counts: NDArray[np.int64]) -> float:
    """Share of the picture that is covered: the perplexity of a histogram over its pixels."""
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()) / counts.size)


def _paint(counts: NDArray[np.int64], hue: Points, rng: np.random.Generator) -> Bytes:
    """Colour a histogram: a random palette over a smooth random background, one of them dark."""
    low, high = _DARK
    ground = low + (high - low) * rng.random((_GROUND, _GROUND, 3))
    turns, phase = rng.uniform(0.3, 1.2, 3), rng.random(3)
    waves = 0.5 + 0.5 * np.cos(2 * np.pi * (np.linspace(0, 1, 256)[:, None] * turns + phase))
    low, high = _LIGHT
    palette = low + (high - low) * waves  # [256, 3]
    if rng.random() < 0.5:
        ground, palette = 1 - ground, 1 - palette
    # Pillow resizes in integers, with the same result on every machine.
    small = Image.fromarray((ground * 255).astype(np.uint8))
    below = np.asarray(small.resize(counts.shape, Image.Resampling.BICUBIC), np.float32)
    ink = (palette * 255).astype(np.float32)[(hue * 255).astype(np.uint8)]
    return (below + _opacity(counts)[..., None] * (ink - below)).astype(np.uint8)


def _opacity(counts: NDArray[np.int64]) -> Points:
    """Logarithmic opacity of a histogram, in [0, 1]; 0 for pixels without points."""
    hit = np.sort(counts[counts > 0])
    # The highest 5 % saturate; scaled by the maximum, they would leave the others dim.
    full = max(2, hit[int(0.95 * (len(hit) - 1))]) if len(hit) else 2
    tone: Points = (np.log1p(np.arange(full + 1)) / np.log1p(full)).astype(np.float32)
    return tone[np.minimum(counts, full)]


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@functools.lru_cache(maxsize=4096)
def class_code(seed: int, label: int) -> IfsCode:
    """The first code of a class in the endless set ``seed`` that covers enough of a picture."""
    rng = _rng(seed, _CODES, label)
    while True:
        code = draw_code(rng)
        points = chaos_game(code, rng, 4096)
        counts, _ = histogram(frame(points), points[2], 32)
        if coverage(counts) >= _MIN_COVERAGE:
            return code


def fractal_image(seed: int, label: int, instance: int, *, size: int) -> Bytes:
    """Draw one image of a class, ``[size, size, 3]``; at another size it is the same scene.

    Instances vary slightly in the code, and in tilt, zoom, mirroring, palette and background.
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
    return _paint(counts, hue, look)


def check_least(**values: tuple[int, int]) -> None:
    """Refuse a number below its least; both are given."""
    for name, (value, least) in values.items():
        if value < least:
            raise ValueError(f"{name.replace('_', ' ')} {value}; use {least} or more")


class FractalDataset(LabelledImages):
    """Fractal images as a dataset, in the order class 0, 1, ..., class 0, 1, ...

    Any prefix is therefore balanced over the classes. ``dataset[i]`` draws the image, or has it
    where ``prepare`` has drawn all of them.

    Args:
        classes: Number of classes.
        per_class: Images of each class.
        image_size: Pixels per side.
        seed: Seed of the endless set, which determines the classes.
        first: First instance of each class; a validation set starts where training ends.
    """

    def __init__(
        self,
        classes: int = DEFAULT_CLASSES,
        per_class: int = 100,
        image_size: int = 224,
        *,
        seed: int = 0,
        first: int = 0,
    ) -> None:
        if not 1 <= classes <= MAX_CLASSES:
            raise ValueError(f"{classes} fractal classes; use 1 to {MAX_CLASSES}")
        check_least(per_class=(per_class, 1), image_size=(image_size, MIN_SIZE))
        check_least(seed=(seed, 0), first=(first, 0))
        super().__init__(
            f"fractal images, {classes} classes, seed {seed}, generator {VERSION}",
            tuple(f"fractal-{label:05d}" for label in range(classes)),
            np.arange(classes * per_class, dtype=np.int64) % classes,
        )
        self.image_size, self.seed, self.first = image_size, seed, first
        self._drawn: Tensor | None = None  # [n, 3, S, S]

    def prepare(self, *, progress: Progress | None = None) -> None:
        """Draw all images into memory, and into the cache folder where that takes long."""
        self._drawn = decode(self, Preparation(self.image_size, crop_pct=1.0), progress)

    def picture(self, index: int) -> Image.Image:
        if self._drawn is not None:
            return Image.fromarray(self._drawn[index].permute(1, 2, 0).numpy())
        instance, label = divmod(index, len(self.classes))
        pixels = fractal_image(self.seed, label, self.first + instance, size=self.image_size)
        return Image.fromarray(pixels)

    def name(self, index: int) -> str:
        instance, label = divmod(index, len(self.classes))
        return f"fractal-{VERSION}-{self.seed}-{label}-{self.first + instance}"

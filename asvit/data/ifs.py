"""Iterated function systems: random codes, their variations, and the chaos game.

An iterated function system (IFS) is a set of contracting affine maps ``x -> A_i x + b_i``, each
with a probability. Its attractor, the set that the maps together leave invariant, is a fractal;
the chaos game draws it by applying randomly picked maps to points.

All functions take and return NumPy arrays, and take the random generator as an argument.

References:
    Kataoka et al. 2021, "Pre-training without Natural Images", arXiv:2101.08515: a code is a
    class. Nakashima et al. 2021, arXiv:2103.13023: the same with colour, for transformers.
    Anderson and Farrell 2022, "Improving Fractal Pre-training", arXiv:2110.03091: codes drawn
    through their singular values.
    Draves and Reckase 2003, "The Fractal Flame Algorithm": the colour coordinate.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAPS = (2, 8)  # fewest and most maps of a code
SIGMA_MAX = 0.95  # largest singular value: every map contracts, so the attractor exists
_PICKS = 256  # each map is picked by one random byte
_SETTLE = 16  # steps until the points follow the attractor's measure


@dataclass(frozen=True)
class IfsCode:
    """One iterated function system of ``N`` maps ``x -> R(theta) S R(phi) D x + b``.

    The maps are stored as factors, so that a variation of each still contracts: R is a rotation, S
    has the singular values, D is a reflection.

    Attributes:
        angles: theta and phi of each map, radians, ``[N, 2]``.
        sigma: Singular values, larger first, in ``[0, SIGMA_MAX]``, ``[N, 2]``.
        signs: Diagonal of D, -1 or 1, ``[N, 2]``.
        shifts: b, ``[N, 2]``.
    """

    angles: Floats
    sigma: Floats
    signs: Floats
    shifts: Floats

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
    """Draw singular values whose weighted sum makes a well-spread attractor.

    With ``alpha = sum_i (sigma_i1 + 2 sigma_i2)``, Anderson and Farrell find that attractors look
    best for ``(5 + N) / 2 <= alpha <= (6 + N) / 2``: less gives dust, more a shapeless blob. Here
    a Dirichlet draw divides alpha among the maps, then each share is split between the two values.

    Args:
        rng: Source of randomness.
        maps: N, at least 2.

    Returns:
        ``[N, 2]``, ``SIGMA_MAX >= larger >= smaller >= 0``.

    References:
        Anderson and Farrell 2022, arXiv:2110.03091, section 3.
    """
    alpha = rng.uniform(5 + maps, 6 + maps) / 2
    while True:
        share = alpha * rng.dirichlet(np.full(maps, 2.0))
        if share.max() <= 3 * SIGMA_MAX:
            break
    smaller = rng.uniform(np.maximum(0.0, (share - SIGMA_MAX) / 2), share / 3)
    return np.stack([share - 2 * smaller, smaller], axis=1)


def vary(code: IfsCode, rng: np.random.Generator, amount: float) -> IfsCode:
    """Return ``code`` with every angle, singular value and shift varied a little.

    Args:
        code: The code of the class.
        rng: Source of randomness.
        amount: Largest change: radians for angles, relative for singular values; half of it,
            absolute, for shifts.

    Returns:
        A code that still contracts.
    """
    sigma = code.sigma * rng.uniform(1 - amount, 1 + amount, code.sigma.shape)
    return replace(
        code,
        angles=code.angles + rng.uniform(-amount, amount, code.angles.shape),
        sigma=np.minimum(sigma, SIGMA_MAX),
        shifts=code.shifts + rng.uniform(-amount, amount, code.shifts.shape) / 2,
    )


def chaos_game(code: IfsCode, rng: np.random.Generator, points: int) -> NDArray[np.float32]:
    """Apply randomly picked maps to many points in parallel.

    The points start at the maps' fixed points, so all of them are on the attractor from the first
    step. At each step a third coordinate moves half-way to the index of the map. It encodes the
    path of a point, and gives its colour.

    Args:
        code: The system.
        rng: Source of randomness.
        points: Least number of points to return; time and memory grow linearly.

    Returns:
        x, y and the colour coordinate in [0, 1], ``[3, points or a few more]``.
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
            path[0, step], path[1, step], path[2, step] = x, y, c
    return path.reshape(3, -1)

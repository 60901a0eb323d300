"""Scalings by hand, to compare a growth with: depth only, width only, both at once, at random.

None of them measures anything. Each gives the largest model of its kind within a budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from scaling.budget import Budget
from scaling.growth import CostOf
from scaling.shapes import Shape, largest, proposals, wider

#: EfficientNet's factors of depth and width; its third one, of the image size, is left out.
DEPTH_FACTOR, WIDTH_FACTOR = 1.2, 1.1
_PER_UNIT = 200  # members of the compound family while its exponent grows by 1

Family = Callable[[Shape], Callable[[int], Shape]]


def deeper(shape: Shape) -> Callable[[int], Shape]:
    """The family of ``shape`` with so many blocks more, one stage after the other in turn."""

    def member(blocks: int) -> Shape:
        rounds, rest = divmod(blocks, len(shape.depths))
        return Shape(
            tuple(d + rounds + (stage < rest) for stage, d in enumerate(shape.depths)),
            shape.width,
        )

    return member


def compound(shape: Shape) -> Callable[[int], Shape]:
    """The family of ``shape`` with depths times 1.2^x and width times 1.1^x, rounded.

    References:
        Tan and Le 2019, "EfficientNet", arXiv:1905.11946.
    """

    def member(number: int) -> Shape:
        x = number / _PER_UNIT
        return Shape(
            tuple(math.floor(d * DEPTH_FACTOR**x + 0.5) for d in shape.depths),
            math.floor(shape.width * WIDTH_FACTOR**x + 0.5),
        )

    return member


FAMILIES: Mapping[str, Family] = {
    "depth only": deeper,
    "width only": wider,
    "compound": compound,
}


def by_hand(family: Family, start: Shape, cost: CostOf, budget: Budget) -> Shape:
    """The largest member of a family within ``budget``.

    Raises:
        ValueError: If not even the start is within it, or the family never leaves it.
    """
    found = largest(family(start), lambda shape: _within(cost, budget, shape))
    if found is None:
        raise ValueError(f"no member of this family ends within {budget}")
    return found


def at_random(start: Shape, cost: CostOf, budget: Budget, rng: np.random.Generator) -> Shape:
    """Steps of growth's own kind, each drawn at random, then the widest that is within ``budget``.

    Raises:
        ValueError: If not even the start is within it.
    """
    if not _within(cost, budget, start):
        raise ValueError(f"the start is not within {budget}")
    shape = start
    while fitting := [one for one in proposals(shape) if _within(cost, budget, one)]:
        shape = fitting[rng.integers(len(fitting))]
    return by_hand(wider, shape, cost, budget)


def _within(cost: CostOf, budget: Budget, shape: Shape) -> bool:
    try:
        return budget.of(cost(*shape)) <= budget.amount
    except ValueError:
        return False

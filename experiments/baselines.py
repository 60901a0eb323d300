"""Scaling rules to compare growth with: depth only, width only, compound and random.

They measure nothing: each returns the largest model of its kind within a budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from scaling.budget import Budget
from scaling.growth import CostOf
from scaling.shapes import Shape, largest_fitting, proposals, wider

#: EfficientNet's factors of depth and width, without its third one, for the image size.
DEPTH_FACTOR, WIDTH_FACTOR = 1.2, 1.1
_STEPS_PER_UNIT = 200  # compound shapes while the exponent grows by 1

Family = Callable[[Shape], Callable[[int], Shape]]


def deeper(shape: Shape) -> Callable[[int], Shape]:
    """Shapes of the same width with n more blocks, added to the stages in turn."""

    def member(blocks: int) -> Shape:
        rounds, rest = divmod(blocks, len(shape.depths))
        return Shape(
            tuple(d + rounds + (stage < rest) for stage, d in enumerate(shape.depths)),
            shape.width,
        )

    return member


def compound(shape: Shape) -> Callable[[int], Shape]:
    """Shapes with depths times 1.2^x and width times 1.1^x, rounded; x = n / 200.

    References:
        Tan and Le 2019, "EfficientNet", arXiv:1905.11946.
    """

    def member(number: int) -> Shape:
        x = number / _STEPS_PER_UNIT
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


def scale_by_rule(family: Family, start: Shape, cost: CostOf, budget: Budget) -> Shape:
    """The largest shape of a family within ``budget``.

    Raises:
        ValueError: If the start exceeds the budget, or no shape of the family does.
    """
    found = largest_fitting(family(start), lambda shape: _within(cost, budget, shape))
    if found is None:
        raise ValueError(f"no member of this family ends within {budget}")
    return found


def scale_at_random(start: Shape, cost: CostOf, budget: Budget, rng: np.random.Generator) -> Shape:
    """Take random growth steps while one fits, then the largest width within ``budget``.

    Raises:
        ValueError: If the start exceeds the budget.
    """
    if not _within(cost, budget, start):
        raise ValueError(f"the start is not within {budget}")
    shape = start
    while fitting := [one for one in proposals(shape) if _within(cost, budget, one)]:
        shape = fitting[rng.integers(len(fitting))]
    return scale_by_rule(wider, shape, cost, budget)


def _within(cost: CostOf, budget: Budget, shape: Shape) -> bool:
    try:
        return budget.of(cost(*shape)) <= budget.amount
    except ValueError:
        return False

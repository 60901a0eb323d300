"""Depths and a width, and the candidates that a growth step derives from them."""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import combinations_with_replacement
from typing import NamedTuple

#: Width factors of a growth step.
WIDTH_FACTORS = (1.05, 1.10, 1.15, 1.20)
MAX_EXTRA_BLOCKS = 4  # that a final step may add
MAX_EXTRA_CHANNELS = 2**20  # if a model this much wider still fits, its cost ignores the width


class Shape(NamedTuple):
    """What growth changes: blocks in each stage, and the width of the first stage in channels."""

    depths: tuple[int, ...]
    width: int

    def deeper(self, stage: int) -> "Shape":
        """The shape with one more block in ``stage``, counted from 0."""
        depths = list(self.depths)
        depths[stage] += 1
        return Shape(tuple(depths), self.width)


def proposals(
    shape: Shape, *, factors: Sequence[float] = WIDTH_FACTORS, multiple: int = 1
) -> list[Shape]:
    """Candidates of a growth step: one more block in one stage, and a larger width.

    Args:
        shape: The current shape.
        factors: Width factors; the paper's by default.
        multiple: Widths are rounded to multiples of this, halves up.

    Returns:
        The shapes, stage by stage, from narrow to wide, without duplicates.

    References:
        Chen et al. 2022, arXiv:2202.11921. The released code rounds the quarter of the width that
        it measures at, which is ``multiple=4``.
    """
    widths = sorted({_scaled_width(shape.width, factor, multiple) for factor in factors})
    return [
        Shape(shape.deeper(stage).depths, width)
        for stage in range(len(shape.depths))
        for width in widths
    ]


def final_step_candidates(
    shape: Shape, fits: Callable[[Shape], bool], close_enough: Callable[[Shape], bool]
) -> list[Shape]:
    """Finer candidates, for a last step once no proposal fits the budget.

    For the current depths, and for one more block in each stage, take the widest shape that fits.
    If none is close enough to the budget, add two blocks, to one stage or to two, then three, then
    four.
    """
    bases = [shape]
    for blocks in range(1, MAX_EXTRA_BLOCKS + 1):
        for stages in combinations_with_replacement(range(len(shape.depths)), blocks):
            bases.append(reduce(Shape.deeper, stages, shape))
        widest = [largest_fitting(wider(base), fits) for base in bases]
        found = [one for one in widest if one is not None and close_enough(one)]
        if found:
            return found
        bases = []
    return []


def largest_fitting(family: Callable[[int], Shape], fits: Callable[[Shape], bool]) -> Shape | None:
    """Find the largest shape of a family that fits, by doubling and bisection.

    The family maps 0, 1, 2, ... to ever larger shapes. None if even the first one does not fit, or
    if all of them do.
    """
    if not fits(family(0)):
        return None
    below, step = 0, 1
    while fits(family(below + step)):
        below += step
        step *= 2
        if below > MAX_EXTRA_CHANNELS:
            return None
    above = below + step
    while above - below > 1:
        middle = (below + above) // 2
        if fits(family(middle)):
            below = middle
        else:
            above = middle
    return family(below)


def wider(shape: Shape) -> Callable[[int], Shape]:
    """Shapes of the same depths with n more channels."""
    return lambda channels: Shape(shape.depths, shape.width + channels)


def _scaled_width(width: int, factor: float, multiple: int) -> int:
    """``width`` times ``factor`` as a multiple of ``multiple``, halves up, never narrower."""
    # Rounding to nine digits removes the float error in products of two short decimals.
    return max(width, multiple * math.floor(round(width * factor / multiple, 9) + 0.5))

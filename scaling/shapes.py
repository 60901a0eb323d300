"""Depths and a width, and which ones a step may turn them into."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import combinations_with_replacement
from typing import NamedTuple

#: What a step may multiply the width by.
WIDTH_FACTORS = (1.05, 1.10, 1.15, 1.20)
MOST_EXTRA_BLOCKS = 4  # that a last step may add to land inside its tolerance
ENDLESS = 2**20  # a model that many channels wider that still fits does not grow with its width


class Shape(NamedTuple):
    """What growth changes: blocks in each stage, and the width of the first stage in channels."""

    depths: tuple[int, ...]
    width: int

    def deeper(self, stage: int) -> Shape:
        """The shape with one more block in ``stage``, counted from 0."""
        depths = list(self.depths)
        depths[stage] += 1
        return Shape(tuple(depths), self.width)


def proposals(
    shape: Shape, *, factors: Sequence[float] = WIDTH_FACTORS, multiple: int = 1
) -> list[Shape]:
    """One more block in one of the stages, and a width times one of the factors.

    Args:
        shape: Where growth stands.
        factors: Of the width; the paper's by default.
        multiple: Widths are rounded to multiples of this, halves up.

    Returns:
        The shapes, stage by stage, narrow ones first; equal widths once.

    References:
        Chen et al. 2022, arXiv:2202.11921. The released code rounds the quarter of the width that
        it measures at, which is ``multiple=4``.
    """
    widths = sorted({_grown(shape.width, factor, multiple) for factor in factors})
    return [
        Shape(shape.deeper(stage).depths, width)
        for stage in range(len(shape.depths))
        for width in widths
    ]


def landings(
    shape: Shape, fits: Callable[[Shape], bool], lands: Callable[[Shape], bool]
) -> list[Shape]:
    """Finer shapes than those of a step: what a last step tries when nothing else fits.

    For the same depths, and for each stage with one more block, it is the widest shape that fits.
    Where none of them lands, two more blocks are tried, in one stage or in two, and so on up to
    four.

    Args:
        shape: Where growth stands.
        fits: Whether a shape can be built and is within the budget.
        lands: Whether one that fits is close enough to the budget.
    """
    tried = [shape]
    for blocks in range(1, MOST_EXTRA_BLOCKS + 1):
        for stages in combinations_with_replacement(range(len(shape.depths)), blocks):
            tried.append(reduce(Shape.deeper, stages, shape))
        widest = [largest(wider(base), fits) for base in tried]
        found = [landed for landed in widest if landed is not None and lands(landed)]
        if found:
            return found
        tried = []
    return []


def largest(family: Callable[[int], Shape], fits: Callable[[Shape], bool]) -> Shape | None:
    """The last member of a family that fits, given that all after one too large are too large.

    Args:
        family: Number of a member, from 0, to the member; larger numbers are larger shapes.
        fits: Whether a shape can be built and is within the budget.

    Returns:
        None where not even the first one fits, or where the family never becomes too large.
    """
    if not fits(family(0)):
        return None
    below, step = 0, 1
    while fits(family(below + step)):
        below += step
        step *= 2
        if below > ENDLESS:
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
    """The family of ``shape`` with so many channels more."""
    return lambda channels: Shape(shape.depths, shape.width + channels)


def _grown(width: int, factor: float, multiple: int) -> int:
    """``width`` times ``factor`` as a multiple of ``multiple``, halves up, never narrower."""
    # The product of two short decimals is a hair off at times; nine digits are exact.
    return max(width, multiple * math.floor(round(width * factor / multiple, 9) + 0.5))

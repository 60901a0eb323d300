"""Depths and a width, and the candidates that a growth step derives from them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

#: Width factors of a growth step.
WIDTH_FACTORS = (1.05, 1.10, 1.15, 1.20)
MAX_EXTRA_BLOCKS = 4  # that a final step may add
MAX_EXTRA_CHANNELS = 2**20  # if a model this much wider still fits, its cost ignores the width


class Shape(NamedTuple):
    """What growth changes: blocks in each stage, and the width of the first stage in channels.

    Example:
        >>> scaling.Shape(depths=(1, 1, 1, 1), width=32).width
        32
    """

    depths: tuple[int, ...]
    width: int

    def wider(self, width: int) -> "Shape":
        """The shape at another width."""
        return Shape(self.depths, width)

    def deeper(self) -> list["Shape"]:
        """The shapes with one more block in one stage."""
        depths = self.depths
        return [
            Shape((*depths[:stage], depths[stage] + 1, *depths[stage + 1 :]), self.width)
            for stage in range(len(depths))
        ]

    def with_width_step(self, width_step: int) -> "Shape":
        """The shape with its width rounded down to a multiple of ``width_step``, at least one."""
        return self.wider(max(1, self.width // width_step) * width_step)


def proposals(
    shape: Shape, *, factors: Sequence[float] = WIDTH_FACTORS, multiple: int = 1
) -> list[Shape]:
    """Candidates of a growth step: one more block in one stage, and a larger width.

    Args:
        shape: The current shape.
        factors: Width factors; the paper's by default.
        multiple: Widths are rounded to multiples of this, halves to even ones; if all are the
            current one then, the next multiple is proposed, too.

    Returns:
        The shapes, stage by stage, from narrow to wide, without duplicates.

    References:
        Chen et al. 2022, arXiv:2202.11921. The released code rounds the quarter of the width that
        it measures at, which is ``multiple=4``.

    Example:
        >>> scaling.proposals(scaling.Shape((1, 1), 40))[0]
        Shape(depths=(2, 1), width=42)
    """
    # Rounding to nine digits removes the float error in products of two short decimals.
    quotients = (round(shape.width * factor / multiple, 9) for factor in factors)
    widths = {max(shape.width, multiple * round(quotient)) for quotient in quotients}
    if widths == {shape.width}:  # or growth would add blocks alone
        widths.add((shape.width // multiple + 1) * multiple)
    return [deeper.wider(width) for deeper in shape.deeper() for width in sorted(widths)]


def final_step_candidates(
    shape: Shape,
    fits: Callable[[Shape], bool],
    close_enough: Callable[[Shape], bool],
    *,
    width_step: int = 1,
) -> list[Shape]:
    """Finer candidates, for a last step once no proposal fits the budget.

    For the current depths, and for one more block in each stage, take the widest shape that fits.
    If none is close enough to the budget, add two blocks, to one stage or to two, then three, then
    four. Widths are multiples of ``width_step``.
    """
    new, bases = [shape], [shape]
    for _ in range(MAX_EXTRA_BLOCKS):
        new = list(dict.fromkeys(deeper for base in new for deeper in base.deeper()))
        bases += new
        widest = [largest_fitting(wider(base), fits, width_step=width_step) for base in bases]
        candidates = [shape for shape in widest if shape is not None and close_enough(shape)]
        if candidates:
            return candidates
        bases = []
    return []


def wider(shape: Shape) -> Callable[[int], Shape]:
    """Shapes of the same depths with n more channels."""
    return lambda channels: shape.wider(shape.width + channels)


def largest_fitting(
    family: Callable[[int], Shape], fits: Callable[[Shape], bool], *, width_step: int = 1
) -> Shape | None:
    """Find the largest shape of a family that fits, by doubling and bisection.

    The family maps 0, 1, 2, ... to ever larger shapes, whose widths are rounded down to multiples
    of ``width_step``. None if even the first one does not fit, or if all of them do.
    """

    def member(number: int) -> Shape:
        return family(number).with_width_step(width_step)

    if not fits(member(0)):
        return None
    below, step = 0, 1
    while fits(member(below + step)):
        below += step
        step *= 2
        if below > MAX_EXTRA_CHANNELS:
            return None
    above = below + step
    while above - below > 1:
        middle = (below + above) // 2
        if fits(member(middle)):
            below = middle
        else:
            above = middle
    return member(below)

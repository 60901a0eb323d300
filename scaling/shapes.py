"""Depths and a width, the larger ones that growth tries, and the widest that fits a budget."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

#: Width factors of a growth step.
WIDTH_FACTORS = (1.05, 1.10, 1.15, 1.20)
MAX_EXTRA_BLOCKS = 4  # that a final step may add
MAX_EXTRA_CHANNELS = 2**20  # if a model this much wider still fits, its cost ignores the width


class Shape(NamedTuple):
    """What growth changes: blocks in each stage, and the width of the first stage in channels."""

    depths: tuple[int, ...]
    width: int

    def wider(self, width: int, width_step: int = 1) -> "Shape":
        """The shape at another width, rounded down to a multiple of the step, at least one."""
        return Shape(self.depths, max(1, width // width_step) * width_step)

    def deeper(self) -> list["Shape"]:
        """The shapes with one more block in one stage."""
        depths = self.depths
        return [
            Shape((*depths[:stage], depths[stage] + 1, *depths[stage + 1 :]), self.width)
            for stage in range(len(depths))
        ]


def proposals(shape: Shape, *, multiple: int = 1) -> list[Shape]:
    """Candidates of a growth step: one more block in one stage, and a larger width.

    Widths are rounded to multiples of ``multiple``, halves to even ones; if all are the current
    one then, the next multiple is proposed, too. Stage by stage, from narrow to wide. Of Chen et
    al. 2022, arXiv:2202.11921; ``multiple=4`` is the grid of the released code.

    Example:
        >>> scaling.proposals(scaling.Shape((1, 1), 40))[0]
        Shape(depths=(2, 1), width=42)
    """
    # Rounding to nine digits removes the float error in products of two short decimals.
    quotients = (round(shape.width * factor / multiple, 9) for factor in WIDTH_FACTORS)
    widths = {max(shape.width, multiple * round(quotient)) for quotient in quotients}
    if widths == {shape.width}:  # or growth would add blocks alone
        widths.add((shape.width // multiple + 1) * multiple)
    return [deeper.wider(width) for deeper in shape.deeper() for width in sorted(widths)]


def final_step_candidates(
    shape: Shape,
    fits: Callable[[Shape], bool],
    close_enough: Callable[[Shape], bool],
    width_step: int = 1,
) -> Sequence[Shape]:
    """Finer candidates, for a last step once no proposal fits the budget.

    For the current depths, and for one more block in each stage, take the widest shape that fits.
    If none is close enough to the budget, add two blocks, to one stage or to two, then three, then
    four. Widths are multiples of ``width_step``.
    """
    new, bases = [shape], [shape]
    for _ in range(MAX_EXTRA_BLOCKS):
        new = list(dict.fromkeys(deeper for base in new for deeper in base.deeper()))
        bases += new
        widest = [widest_fitting(base, fits, width_step) for base in bases]
        candidates = [shape for shape in widest if shape is not None and close_enough(shape)]
        if candidates:
            return candidates
        bases = []
    return []


def widest_fitting(
    shape: Shape, fits: Callable[[Shape], bool], width_step: int = 1
) -> Shape | None:
    """The widest shape of these depths that fits; None if the shape itself does not, or all do."""

    def too_wide(channels: int) -> bool:
        return not fits(shape.wider(shape.width + channels, width_step))

    above = 1
    while not too_wide(above):
        above *= 2
        if above > MAX_EXTRA_CHANNELS:
            return None
    channels = bisect_left(range(above), True, key=too_wide) - 1
    return shape.wider(shape.width + channels, width_step) if channels >= 0 else None

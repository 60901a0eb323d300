"""Depths and a width, what growth and rules by hand derive from them, and what fits a budget."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from proxies.registry import Registry
from scaling.budget import Budget

if TYPE_CHECKING:
    from proxies import Cost

#: Width factors of a growth step.
WIDTH_FACTORS = (1.05, 1.10, 1.15, 1.20)
MAX_EXTRA_BLOCKS = 4  # that a final step may add
MAX_EXTRA_CHANNELS = 2**20  # if a model this much wider still fits, its cost ignores the width


class Shape(NamedTuple):
    """What growth changes: blocks in each stage, and the width of the first stage in channels."""

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


#: Maps depths and a width to the cost of their model; a ValueError if there is none.
CostOf = Callable[[tuple[int, ...], int], "Cost"]
Family = Callable[[int], Shape]  # maps 0, 1, 2, ... to ever larger shapes


def proposals(
    shape: Shape, *, factors: Sequence[float] = WIDTH_FACTORS, multiple: int = 1
) -> list[Shape]:
    """Candidates of a growth step: one more block in one stage, and a larger width.

    Widths are rounded to multiples of ``multiple``, halves to even ones; if all are the current
    one then, the next multiple is proposed, too. Stage by stage, from narrow to wide. Of Chen et
    al. 2022, arXiv:2202.11921; ``multiple=4`` is the grid of the released code.

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


def wider(shape: Shape) -> Family:
    """Shapes of the same depths with n more channels."""
    return lambda channels: shape.wider(shape.width + channels)


def largest_fitting(
    family: Family, fits: Callable[[Shape], bool], *, width_step: int = 1
) -> Shape | None:
    """Find the largest shape of a family that fits, by doubling and bisection.

    Widths are rounded down to multiples of ``width_step``. None if even the first shape does not
    fit, or if all of them do.
    """

    def too_large(number: int) -> bool:
        return not fits(family(number).with_width_step(width_step))

    above = 1
    while not too_large(above):
        above *= 2
        if above > MAX_EXTRA_CHANNELS:
            return None
    number = bisect_left(range(above), True, key=too_large) - 1
    return family(number).with_width_step(width_step) if number >= 0 else None


_PER_DOUBLING = 200  # shapes while the scale doubles


def compound(shape: Shape) -> Family:
    """Shapes whose depths grow by 1.2 where the width grows by 1.1, each rounded, halves up."""

    def member(number: int) -> Shape:
        def scaled(size: int, base: float) -> int:
            return math.floor(size * math.pow(base, number / _PER_DOUBLING) + 0.5)

        return Shape(tuple(scaled(depth, 1.2) for depth in shape.depths), scaled(shape.width, 1.1))

    return member


@dataclass(frozen=True)
class Rule:
    """A manual scaling rule."""

    description: str
    family: Callable[[Shape], Family]

    def largest(self, start: Shape, cost: CostOf, budget: Budget, *, width_step: int = 1) -> Shape:
        """The largest shape within ``budget``, its width a multiple of ``width_step``.

        The width grows into what rounded depths leave. A ValueError if the start does not fit.
        """
        fits, shape = within(cost, budget), start
        for family in (self.family, wider):
            found = largest_fitting(family(shape), fits, width_step=width_step)
            if found is None:
                raise ValueError(f"no member of this family ends within {budget}")
            shape = found
        return shape


#: Name -> rule.
RULES: Registry[Rule] = Registry(
    "rule",
    {
        "width": Rule("width alone", wider),
        # EfficientNet's depth and width for the same compute, without its image size.
        "compound": Rule("depth by 1.2 where width grows by 1.1, arXiv:1905.11946", compound),
    },
)


def within(cost: CostOf, budget: Budget) -> Callable[[Shape], bool]:
    """A test whether a shape can be built within ``budget``."""

    def fits(shape: Shape) -> bool:
        try:
            return budget.of(cost(*shape)) <= budget.amount
        except ValueError:
            return False

    return fits

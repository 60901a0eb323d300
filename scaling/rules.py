"""Manual scaling rules, as baselines of growth; they measure nothing.

A rule is a family of ever larger shapes, of which it takes the largest within a budget.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxies.registry import Registry
from scaling.budget import Budget
from scaling.shapes import Shape, largest_fitting, wider

if TYPE_CHECKING:
    from proxies import Cost

#: Maps depths and a width to the cost of their model; a ValueError if there is none.
CostOf = Callable[[tuple[int, ...], int], "Cost"]
Family = Callable[[Shape], Callable[[int], Shape]]

_PER_DOUBLING = 200  # shapes while the scale doubles


def compound(shape: Shape) -> Callable[[int], Shape]:
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
    family: Family

    def largest(self, start: Shape, cost: CostOf, budget: Budget, *, width_step: int = 1) -> Shape:
        """The largest shape within ``budget``, its width a multiple of ``width_step``.

        The width grows into what rounded depths leave of the budget.

        Raises:
            ValueError: If not even the start is within the budget.
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

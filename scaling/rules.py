"""Manual scaling rules, as baselines of growth; they measure nothing.

A rule is a family of ever larger shapes, of which it returns the largest within a budget.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxies.registry import Registry
from scaling.budget import Budget
from scaling.shapes import Shape, largest_fitting, stepped, wider

if TYPE_CHECKING:
    from proxies import Cost

CostOf = Callable[..., "Cost"]  # of a shape
Family = Callable[[Shape], Callable[[int], Shape]]

_PER_DOUBLING = 200  # shapes while the scale doubles
_MOST_EXPANSION = 6  # As-ViT's largest; the other sizes grow beyond it


def deeper(shape: Shape) -> Callable[[int], Shape]:
    """Shapes of the same width with n more blocks, added to the stages in turn."""

    def member(blocks: int) -> Shape:
        rounds, rest = divmod(blocks, len(shape.depths))
        depths = (d + rounds + (stage < rest) for stage, d in enumerate(shape.depths))
        return shape.with_(tuple(depths), shape.width, shape.expansions)

    return member


def by_powers(*, depth: float, width: float, expansion: float = 0) -> Family:
    """Shapes whose sizes grow as powers of one scale, 2^(n / 200), each rounded, halves up."""

    def family(shape: Shape) -> Callable[[int], Shape]:
        def member(number: int) -> Shape:
            scale = math.exp2(number / _PER_DOUBLING)

            def scaled(size: int, power: float) -> int:
                return math.floor(size * math.pow(scale, power) + 0.5)

            return shape.with_(
                tuple(scaled(size, depth) for size in shape.depths),
                scaled(shape.width, width),
                tuple(
                    max(size, min(scaled(size, expansion), _MOST_EXPANSION))
                    for size in shape.expansions
                ),
            )

        return member

    return family


@dataclass(frozen=True)
class Rule:
    """A manual scaling rule."""

    description: str
    family: Family
    expansions: bool = False  #: whether it also grows the expansions of the feed-forward parts
    #: Whether the width then grows into what rounded depths and expansions leave of a budget.
    lands: bool = True

    def largest(self, start: Shape, cost: CostOf, budget: Budget, *, width_step: int = 1) -> Shape:
        """The largest shape within ``budget``; errors as :func:`scale_by_rule`.

        Its width is a multiple of ``width_step``.
        """
        shape = scale_by_rule(self.family, start, cost, budget, width_step=width_step)
        if not self.lands:
            return shape
        return scale_by_rule(wider, shape, cost, budget, width_step=width_step)


#: EfficientNet's depth and width for the same compute (arXiv:1905.11946), without its image size.
_COMPOUND = by_powers(depth=math.log2(1.2), width=math.log2(1.1))

#: Name -> rule.
RULES: Registry[Rule] = Registry(
    "rule",
    {
        "depth": Rule("blocks alone, added to the stages in turn", deeper, lands=False),
        "width": Rule("width alone", wider),
        "compound": Rule("depth by 1.2 where width grows by 1.1, arXiv:1905.11946", _COMPOUND),
        "aspect": Rule("depth and width alike", by_powers(depth=1, width=1)),
        "shape": Rule(
            "hidden widths fastest, then depth, then width, arXiv:2305.13035",
            # Powers of compute: width 0.22, depth 0.45, hidden width 0.6, which is width times
            # expansion.
            by_powers(depth=0.45, width=0.22, expansion=0.6 - 0.22),
            expansions=True,
        ),
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


def scale_by_rule(
    family: Family, start: Shape, cost: CostOf, budget: Budget, *, width_step: int = 1
) -> Shape:
    """The largest shape of a family within ``budget``, its width a multiple of ``width_step``."""
    shape = largest_fitting(stepped(family(start), width_step), within(cost, budget))
    if shape is None:
        raise ValueError(f"no member of this family ends within {budget}")
    return shape

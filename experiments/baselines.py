"""Scaling by hand to compare growth with: rules of ``asvit scale --rule``, and random steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scaling.budget import Budget
from scaling.rules import RULES, CostOf, Family, scale_by_rule, within
from scaling.shapes import Shape, proposals, wider

#: The rules that the pages show, by the names that they have there.
FAMILIES: Mapping[str, Family] = {
    "depth only": RULES["depth"].family,
    "width only": RULES["width"].family,
    "compound": RULES["compound"].family,
}


def scale_at_random(start: Shape, cost: CostOf, budget: Budget, rng: np.random.Generator) -> Shape:
    """Take random growth steps while one fits, then the largest width within ``budget``.

    Raises:
        ValueError: If the start exceeds the budget.
    """
    fits = within(cost, budget)
    if not fits(start):
        raise ValueError(f"the start is not within {budget}")
    shape = start
    while fitting := list(filter(fits, proposals(shape))):
        shape = fitting[rng.integers(len(fitting))]
    return scale_by_rule(wider, shape, cost, budget)

"""Greedy growth of anything that can be built from depths and a width.

Importing this package is cheap; torch is imported with the names that measure.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from scaling.budget import Budget, parse_amount, parse_budgets, parse_milliseconds
from scaling.shapes import Shape, proposals
from scaling.trajectory import Candidate, Row, Step, Trajectory

if TYPE_CHECKING:
    from scaling.growth import GrowthEvent, grow

__all__ = [
    "Budget",
    "Candidate",
    "GrowthEvent",
    "Row",
    "Shape",
    "Step",
    "Trajectory",
    "grow",
    "parse_amount",
    "parse_budgets",
    "parse_milliseconds",
    "proposals",
]


def __getattr__(name: str) -> object:
    if name not in ("GrowthEvent", "grow"):
        raise AttributeError(f"module 'scaling' has no attribute {name!r}")
    return getattr(import_module("scaling.growth"), name)

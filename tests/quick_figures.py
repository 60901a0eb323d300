"""Figures that take no time, for processes that are forked from one that has imported this.

That a run draws the same figures whatever befell it follows from its tables, which are compared;
kills at random compare the figures as well.
"""

from typing import Any

from asvit.report.pictures import Picture

_REAL: Any = Picture.__dict__["svg"]


def draw_again() -> None:
    """Have figures of this process be what they are for users."""
    Picture.svg = _REAL


Picture.svg = "<svg/>"

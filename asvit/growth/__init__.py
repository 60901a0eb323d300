"""Scaling: what a run is asked to do, what it has measured so far, and what it ended in.

The growth itself is the package ``scaling``, which knows no architecture by name.
"""

from asvit.growth.settings import ScaleSettings

__all__ = ["ScaleSettings"]

"""Scaling: what a run is asked to do, and what it has measured so far.

The growth itself is the package ``scaling``, which knows no architecture by name.
"""

from asvit.growth.journal import Journal
from asvit.growth.settings import PRESETS, ScaleSettings, make_settings

__all__ = ["PRESETS", "Journal", "ScaleSettings", "make_settings"]

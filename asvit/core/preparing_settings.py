"""The setting of how oblong images become square, shared by all runs that train."""

from __future__ import annotations

from typing import Any, Final

from asvit.core.settings import setting

#: Ways to fit an image into a square, and what timm calls them.
FITS: Final = {"crop": "center", "pad": "border", "squash": "squash"}


def fit_setting(**options: Any) -> Any:
    """The setting ``fit`` of runs that train."""
    return setting(
        "crop",
        "How oblong images become square: crop their ends off, pad them with the mean colour, or "
        "squash them.",
        choices=tuple(FITS),
        **options,
    )

"""The settings of how pictures are prepared, shared by all runs that train."""

from __future__ import annotations

from typing import Any, Final

from asvit.core.settings import setting

#: Ways to fit an image into a square, and what timm calls them.
FITS: Final = {"crop": "center", "pad": "border", "squash": "squash"}

#: Colours that transparent pictures are laid over, by Pillow's names; the first of equal ones is
#: taken.
GROUNDS: Final = ("white", "black", "grey")
BLACK: Final = "black"  # where nothing is known of the pictures
AUTO: Final = "auto"


def fit_setting(**options: Any) -> Any:
    """The setting ``fit`` of runs that train."""
    return setting(
        "crop",
        "How oblong images become square: crop their ends off, pad them with the mean colour, or "
        "squash them.",
        choices=tuple(FITS),
        **options,
    )


def ground_setting(**options: Any) -> Any:
    """The setting ``ground`` of runs that train."""
    return setting(
        AUTO,
        "Colour under transparent pictures: white, black, grey, or auto, on which those to train "
        "on stand out.",
        choices=(AUTO, *GROUNDS),
        **options,
    )

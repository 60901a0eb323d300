"""Colours of a page and of its figures, as they stand in the light and in the dark theme."""

import re
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float64]  # red, green and blue, 0 to 1

CSS = files("asvit.report").joinpath("page.css").read_text(encoding="utf-8")
_FILTER = re.search(r"filter: invert\(([\d.]+)\) hue-rotate\(180deg\)", CSS)
assert _FILTER is not None


def rgb(text: str) -> Colour:
    """The colour of ``#rrggbb``."""
    return np.array([int(text[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def contrast(one: Colour, other: Colour) -> float:
    """The contrast of two colours, 1 to 21, as WCAG 2 defines it."""
    dark, light = sorted(_luminance(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def linear(colour: Colour) -> Colour:
    """Light of a colour: sRGB without its gamma."""
    light: Colour = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return light


def _luminance(colour: Colour) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])

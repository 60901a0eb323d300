"""Colours of a page and of its figures, as they stand in the light and in the dark theme."""

import re
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float64]  # red, green and blue, 0 to 1

CSS = files("asvit.report").joinpath("page.css").read_text(encoding="utf-8")
#: The variables of the page in its light and in its dark theme.
THEMES = [
    dict(re.findall(r"--(\w+): (#\w{6});", block))
    for block in re.findall(r":root \{([^}]*)\}", CSS)
]
_FILTER = re.search(r"filter: invert\(([\d.]+)\) hue-rotate\(180deg\)", CSS)
assert _FILTER is not None
_INVERTED = float(_FILTER[1])
# The matrix of CSS's hue-rotate, by half a turn.
_TURNED = np.array([[-0.574, 1.43, 0.144], [0.426, 0.43, 0.144], [0.426, 1.43, -0.856]])


def rgb(text: str) -> Colour:
    """The colour of ``#rrggbb``."""
    return np.array([int(text[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def in_dark(colour: Colour) -> Colour:
    """A colour of a figure as the dark theme shows it."""
    turned = _TURNED @ (_INVERTED + colour * (1 - 2 * _INVERTED))
    return np.clip(turned, 0, 1)


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

"""Which families race, and at which side of images, by the side of the pictures."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Final

import numpy as np

from asvit.designs.settings import DesignSettings
from asvit.spaces import SMALL_FAMILIES, load_space

SIDES: Final = (224, 192, 160, 128, 96, 64)  # pixels, to fall back on where time is tight
ALL: Final = "families"
_SMALL: Final = (16, 32, 48)  # pixels of images of small pictures, most of which families take
_SHRUNK: Final = 1.15  # times as large pictures still become images of a side
_SAMPLES: Final = 8  # architectures of a family that have to take a side


def space_for(settings: DesignSettings, pictures: int) -> str:
    """The space of a design on pictures of so many pixels a side.

    Where all families are to race, on small pictures these are the ones for them.
    """
    side = settings.image_size or _own_side(pictures)
    if settings.space != ALL or side >= SIDES[-1]:
        return settings.space
    return ",".join(name for name in SMALL_FAMILIES if takes(name, side))


def whole_side(settings: DesignSettings, pictures: int) -> int:
    """Side of images where neither limits nor time make them smaller, in pixels.

    That of the pictures, about; of small ones the next larger one that the space takes.
    """
    if settings.image_size is not None:
        return settings.image_size
    own = _own_side(pictures)
    larger = (side for side in _SMALL if side >= own)
    return next((side for side in larger if takes(settings.space, side)), max(own, SIDES[-1]))


def smallest_side(settings: DesignSettings, pictures: int) -> int:
    """Side of images where limits or time are tight, in pixels."""
    return settings.image_size or min(whole_side(settings, pictures), SIDES[-1])


@cache
def takes(space: str, side: int) -> bool:
    """Whether the networks of a space take images of a side: those by hand, and some others."""
    known, rng = load_space(space), np.random.default_rng(0)
    networks = [*known.by_hand, *(known.sample(rng) for _ in range(_SAMPLES))]
    with suppress(ValueError):
        for network in networks:
            known.check(network, side)
        return True
    return False


def _own_side(pictures: int) -> int:
    """About that of the pictures, whatever the space takes."""
    small = next((side for side in _SMALL if pictures <= _SHRUNK * side), None)
    return small or min(max(pictures // 32 * 32, SIDES[-1]), SIDES[0])

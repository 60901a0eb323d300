"""Weights of generated fractals, which some networks of a design begin with."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from asvit.designs.settings import FRACTALS_BELOW, DesignSettings
from asvit.designs.stages import PictureFacts

logger = logging.getLogger(__name__)

CLASSES = 100
DATA = f"fractal:{CLASSES}"
CHANNELS = 3
PICTURES, EPOCHS = (1_000, 8_000), (3, 20)  # least and most
_DRAWN = 1 / 250  # seconds to draw one, before it is trained on
#: Families that learn faster from weights of fractals: see docs/evidence_searches.md.
_FAMILIES = ("resnet", "resnet-parts")


def begins_with_them(settings: DesignSettings, family: str, pictures: PictureFacts) -> bool:
    """Whether networks of a family begin with weights of fractals."""
    if pictures.channels != CHANNELS:
        return False
    how, few = settings.warm_start, pictures.train < FRACTALS_BELOW
    return how == "fractals" or (how == "auto" and family in _FAMILIES and few)


def lengths(speeds: Mapping[str, float], seconds: float) -> Mapping[str, tuple[int, int]]:
    """Pictures and epochs of the trainings on fractals; fewer pictures where time is short.

    ``speeds`` has the images a second of each network that begins with their weights.
    """
    (least, most), (fewest, whole) = EPOCHS, PICTURES
    time = seconds / max(1, len(speeds))
    by_name = dict[str, tuple[int, int]]()
    for name, speed in speeds.items():
        epochs = max(least, int(min(most, (time / whole - _DRAWN) * speed)))
        pictures = int(min(whole, time / (epochs / speed + _DRAWN)))
        if pictures >= fewest:
            by_name[name] = pictures, epochs
        else:
            logger.warning(
                "%s begins without weights of fractals: there is time for %d of these, and "
                "fewer than %d are not worth it; more hours allow them",
                *(name, pictures, fewest),
            )
    return by_name


def folder_of(name: str) -> str:
    """The folder of the training on fractals of a network of the last round."""
    return f"{name}-fractals"

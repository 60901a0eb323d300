"""What a sample of pictures shows of a set: which are transparent or oblong."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from PIL import Image, ImageColor

from asvit.core.preparing_settings import AUTO, GROUNDS
from asvit.data.base import LabelledImages, balanced_places
from asvit.data.kinds import Picture, size_of
from asvit.data.reading import read_each

SAMPLE: Final = 500  # pictures that are looked at
#: Share of the pictures' area outside their central squares, above which they are called oblong:
#: more than in photographs of 3:2, which may have odd sides.
MOST_HIDDEN: Final = 0.34
#: Contrast that is enough, of 1 from black to white: more of it in some pictures is no reason to
#: lose others.
_ENOUGH: Final = 0.25
_ALIKE: Final = 1.5  # ratio of two pictures' ratios of sides, to which squashing both is alike


@dataclass(frozen=True)
class Look:
    """What a picture shows."""

    width: int  # pixels
    height: int  # pixels
    #: Mean difference of its visible pixels from each ground, 0 to 1; none if all are opaque.
    contrast: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def at(cls, picture: Picture) -> "Look":
        """A look at a picture with its transparent pixels, or at an array."""
        return cls(*size_of(picture), _contrasts(picture))


def _contrasts(picture: Picture) -> dict[str, float]:
    if not isinstance(picture, Image.Image) or picture.mode not in ("RGBA", "LA"):
        return {}
    *bands, alpha = (np.asarray(band).ravel() for band in picture.split())
    if alpha.min() == 255:
        return {}
    counts = sum(np.bincount(band, weights=alpha, minlength=256) for band in bands)
    whole = 255 * len(bands) * max(float(alpha.sum(dtype=np.int64)), 1.0)
    levels = {ground: ImageColor.getrgb(ground)[0] for ground in GROUNDS}
    return {
        ground: float(counts @ np.abs(np.arange(256) - level) / whole)
        for ground, level in levels.items()
    }


@dataclass(frozen=True)
class Survey:
    """Looks at some pictures of a set, by their names."""

    looks: Mapping[str, Look]

    @cached_property
    def transparent(self) -> Sequence[Look]:
        """Those at pictures with transparent pixels."""
        return [look for look in self.looks.values() if look.contrast]

    @cached_property
    def ground(self) -> str:
        """The ground on which transparent pictures stand out; empty if there are none.

        It has the largest mean contrast, of which each picture counts no more than is enough.
        """
        if not self.transparent:
            return ""

        def mean(ground: str) -> float:
            contrasts = (min(look.contrast[ground], _ENOUGH) for look in self.transparent)
            return round(statistics.fmean(contrasts), 9)

        return max(GROUNDS, key=mean)

    @cached_property
    def hidden(self) -> float:
        """Mean share of the pictures' area outside their central squares."""
        sides = [(look.width, look.height) for look in self.looks.values()]
        return statistics.fmean(1 - min(pair) / max(pair) for pair in sides) if sides else 0.0

    @property
    def fit(self) -> str:
        """How the pictures are fitted into squares so that too much is not hidden.

        Oblong ones are squashed where all are of about one shape; others are padded, which keeps
        shapes.
        """
        if self.hidden <= MOST_HIDDEN:
            return "crop"
        shapes = sorted(look.width / look.height for look in self.looks.values())
        least, most = (shapes[round(share * (len(shapes) - 1))] for share in (0.1, 0.9))
        return "squash" if most <= _ALIKE * least else "pad"

    @property
    def hidden_in_words(self) -> str:
        """How much of the pictures is outside their central squares, as the start of a line."""
        return f"the central squares of the pictures leave out {self.hidden:.0%} of their area"

    def transparent_in_words(self, ground: str) -> str:
        """What so many transparent pictures are laid over, in a line."""
        count, total = len(self.transparent), len(self.looks)
        return f"transparent pictures, {count:,} of {total:,} looked at, are laid over {ground}"


def survey(images: LabelledImages, *, seed: int = 0, most: int = SAMPLE) -> Survey:
    """Look at some images of a set, balanced over its classes; unreadable ones are left out."""
    whole = images.on(None)
    read = read_each(
        lambda place: Look.at(whole.picture(place)), balanced_places(images.labels, most, seed)
    )
    return Survey({images.name(at): look for at, look in read if isinstance(look, Look)})


def chosen_ground(images: LabelledImages, ground: str, *, seed: int, most: int = SAMPLE) -> str:
    """The ground that a setting names; for ``auto`` the one on which a sample stands out.

    Empty if none of the sample is transparent.
    """
    return survey(images, seed=seed, most=most).ground if ground == AUTO else ground

"""What a sample of pictures shows of a set: which are transparent or oblong."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from PIL import Image, ImageColor

from asvit.core.preparing_settings import AUTO, GROUNDS
from asvit.data.base import LabelledImages, balanced_places
from asvit.data.decoding import is_transparent
from asvit.data.kinds import Picture, size_of
from asvit.data.reading import read_each

SAMPLE: Final = 500  # pictures that are looked at
#: Share of the pictures' area outside their central squares, above which they are called oblong:
#: more than in photographs of 3:2, which may have odd sides.
MOST_HIDDEN: Final = 0.34
#: Contrast that is enough, of 1 from black to white: more of it in some pictures is no reason to
#: lose others.
_ENOUGH: Final = 0.25
#: Longer over shorter side of one picture over that of another, up to which all are squashed about
#: alike.
_ALIKE: Final = 1.5


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
        transparent = isinstance(picture, Image.Image) and is_transparent(picture)
        return cls(*size_of(picture), _contrasts(picture) if transparent else {})


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
        means = {
            ground: statistics.fmean(
                min(look.contrast[ground], _ENOUGH) for look in self.transparent
            )
            for ground in GROUNDS
        }
        best = max(means.values())
        return next(ground for ground, mean in means.items() if mean >= best - 1e-9)

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
    """Look at some images of a set, balanced over its classes; unreadable ones are left out.

    Equal sets and seeds give equal results.
    """
    whole = images.on(None)

    def look(place: int) -> Look:
        return Look.at(whole.picture(place))

    read = read_each(look, balanced_places(images.labels, most, seed))
    return Survey({images.name(at): found for at, found in read if isinstance(found, Look)})


def chosen_ground(images: LabelledImages, ground: str, *, seed: int, most: int = SAMPLE) -> str:
    """The ground that a setting names; for ``auto`` the one on which a sample stands out.

    Empty if none of the sample is transparent.
    """
    if ground != AUTO:
        return ground
    return survey(images, seed=seed, most=most).ground


def _contrasts(picture: Any) -> dict[str, float]:
    """Mean difference of the visible pixels from each ground, over the bands, 0 to 1."""
    *bands, alpha = (np.asarray(band).ravel() for band in picture.split())
    visible = float(alpha.sum(dtype=np.int64))
    counts = [np.bincount(band, weights=alpha, minlength=256) for band in bands]
    levels = np.arange(256)
    return {
        ground: float(
            sum(count @ np.abs(levels - ImageColor.getrgb(ground)[0]) for count in counts)
            / (255 * len(bands) * max(visible, 1.0))
        )
        for ground in GROUNDS
    }

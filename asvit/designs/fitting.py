"""Sizes of images and networks that the limits and the time of a design allow."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, cached_property, partial

from asvit.designs.families import SIDES, smallest_side, whole_side
from asvit.designs.settings import DesignSettings
from asvit.designs.sizes import Sizes
from asvit.spaces.base import Architecture

#: Multiply-adds for each pixel; a network with fewer sees smaller images. Where each picture is
#: seen often, a quarter is enough. See docs/evidence_designs.md.
PER_PIXEL = 2_000
OFTEN = 200  # epochs
#: Shares of their multiply-adds that networks are narrowed to where time is short.
NARROWED = (1, 0.5, 0.25, 0.12, 0.06, 0.03)

#: Updates and epochs that are worth a training, or time makes a network smaller. In two minutes
#: of a core on Fashion-MNIST, ResNets of width 14, 8 and 4 reached 91.7, 92.1 and 90.9 % of
#: validation pictures after 2, 3 and 5 epochs.
_WORTH = 300, 3
_FASTER = 1.25  # times as fast is a smaller network that is worth it
_EXAMPLES = 5  # networks whose median stands for those of a space
#: Updates that are enough, and within how many epochs. On 300 drawn pictures a ResNet reached 84 %
#: after 5,400 updates and 94 % after 16,000 with AdamW, and 99.5 % after 6,000 with Muon.
_UPDATES, _EPOCHS = 20_000, (100, 3_000)
#: Updates for each multiply-add of a network; with fewer, a narrower one pays. See
#: docs/evidence_designs.md.
_PAYING = 500e-6


class Fitting:
    """Fits images and networks to the limits and the time of a design.

    Args:
        settings: Of the design.
        sizes: The widths that its limits allow.
        sample: Architectures of its space; images are fitted to the first before others are known.
        pictures: Side of the pictures, in pixels.
        steps: Updates of an epoch on all pictures.
        pace: Times a network, given as text, at a side of images: seconds and updates of an epoch.
        time: Seconds for the training; not asked for without hours.
    """

    def __init__(
        self,
        settings: DesignSettings,
        sizes: Sizes,
        sample: Sequence[Architecture],
        *,
        pictures: int,
        steps: int,
        pace: Callable[[str, int], tuple[float, int]],
        time: Callable[[], float],
    ) -> None:
        self._settings, self._sizes, self._sample = settings, sizes, sample
        self._pictures, self._steps = pictures, steps
        self._pace, self._time = cache(pace), time

    @property
    def whole_side(self) -> int:
        """See :func:`asvit.designs.families.whole_side`."""
        return whole_side(self._settings, self._pictures)

    @property
    def smallest_side(self) -> int:
        """See :func:`asvit.designs.families.smallest_side`."""
        return smallest_side(self._settings, self._pictures)

    @cached_property
    def side(self) -> int:
        """Side of the images where time does not make them smaller, in pixels.

        The largest for which the limits allow a network that is wide enough.
        """
        sides = self._down_from(self.whole_side)
        if len(sides) == 1:
            return sides[0]
        widest = cache(partial(self._sizes.widest, self._sample[0]))
        least = per_pixel(enough_epochs(self._steps))
        for side in sides:
            with suppress(ValueError):  # too large or slow at any width
                wide = self._sizes.macs(widest(side), side) >= least * side**2
                if wide or widest(side) == widest(sides[-1]):  # smaller images allow no more
                    return side
        return sides[0]

    @property
    def sides(self) -> Sequence[int]:
        """The largest side that the limits allow and smaller ones."""
        return self._down_from(self.side)

    def search_macs(self, side: int) -> int | None:
        """Most multiply-adds of a search's networks at a side of images; None without a limit.

        Where only time is limited, networks have as many as some within the limit.
        """
        s = self._settings
        if s.max_macs is not None:  # as many for each pixel, or as many as a wide network has
            fewer = max(s.max_macs * (side / self.side) ** 2, PER_PIXEL * side**2)
            return min(s.max_macs, round(fewer))
        if s.max_params is None:
            return round(self._quick_macs * (side / self.side) ** 2)
        return None

    def search_macs_in_time(self, side: int) -> int | None:
        """:meth:`search_macs`, but no more than time allows the first network in the end.

        A search of wider ones takes the time of the trainings, and ranks what none will be.
        """
        most = self.search_macs(side)
        with suppress(ValueError):  # too large or slow at any width
            text, _, narrowed = self.fit(self._sample[0], side)
            if narrowed:
                macs = self._sizes.macs(text, side)
                return macs if most is None else min(most, macs)
        return most

    @cached_property
    def _quick_macs(self) -> float:
        """Median multiply-adds of a few networks within the limit of latency."""
        quick, side = list[float](), self.side
        for arch in self._sample:
            try:
                quick.append(self._sizes.macs(self._sizes.widest(arch, side), side))
            except ValueError:  # too slow at any width
                continue
            if len(quick) == _EXAMPLES:
                break
        if not quick:
            raise ValueError(
                f"max_latency={self._settings.max_latency:g} ms is too short for all networks "
                f"that were tried at {side} px; allow more time, or smaller images"
            )
        return statistics.median(quick)

    def typical(self, side: int, most: int | None) -> Architecture:
        """A network of median multiply-adds of the space, with so many at most."""
        limits = self._sizes.limits(side, macs=most)
        networks = map(limits.network, self._sample[:_EXAMPLES])
        by_macs = sorted(networks, key=lambda arch: self._sizes.macs(arch, side))
        return by_macs[len(by_macs) // 2]

    def sides_in_time(self, arch: Architecture) -> Sequence[int]:
        """:attr:`sides` without those at which the time allows too few updates or channels.

        Smaller images are timed first, as they take the least.
        """
        sides = self.sides
        if self._settings.hours is None:
            return sides
        largest = sides[-1]
        for side in sides[-2::-1]:
            try:
                network = self._sizes.widest(arch, side)
            except ValueError:  # too large or slow at any width
                break
            updates, least = self._updates(network, side)
            macs = self._sizes.macs(network, side)
            paying = paying_macs(macs, updates)
            epochs = updates / self._steps * macs / paying
            if updates < least or paying < min(macs, per_pixel(epochs) * side**2):
                break
            largest = side
        return sides[sides.index(largest) :]

    def fit(self, arch: Architecture, side: int | None = None) -> tuple[str, int, bool]:
        """The network, its image size, and whether it is narrower than the limits allow.

        Where time is short, images become smaller until it allows the least that is worth a
        training, and a network that is wide enough for them; then the network narrower until it
        has the updates that pay for its size. A ``side`` that is given stays.

        Raises:
            ValueError: If it is too large or slow at any width.
        """
        sides = self.sides_in_time(arch) if side is None else [side]
        candidates = [(one, 1.0) for one in sides]
        candidates += [(sides[-1], share) for share in NARROWED[1:]]
        best: tuple[Architecture, int, bool] | None = None
        errors, updates, least = list[ValueError](), 0.0, math.inf
        for size, share in candidates:
            try:
                smaller = self._sizes.widest(arch, size, share)
            except ValueError as error:
                errors.append(error)
                continue
            if self._settings.hours is None:
                return str(smaller), size, False
            possible, least = self._updates(smaller, size)
            if possible > _FASTER * updates:
                best, updates = (smaller, size, share < 1), possible
            if updates >= least:
                break
        if best is None:
            raise errors[0]
        arch, size, narrowed = best
        macs = self._sizes.macs(arch, size)
        most = paying_macs(macs, updates)
        if least <= updates and most < macs:
            with suppress(ValueError):  # there is none so narrow
                narrower = self._sizes.with_macs(arch, size, most)
                if self._updates(narrower, size)[0] > _FASTER * updates:
                    arch, narrowed = narrower, True
        return str(arch), size, narrowed

    def epochs(self, side: int) -> float:
        """About how many epochs the time allows the first network; infinite without hours."""
        if self._settings.hours is None:
            return math.inf
        text, size, _ = self.fit(self._sample[0], side)
        seconds, _ = self._pace(text, size)
        return self._time() / seconds

    def _down_from(self, largest: int) -> list[int]:
        """A side and smaller ones, unless the user chose it."""
        chosen = self._settings.image_size is not None
        return [largest, *(side for side in SIDES if side < largest and not chosen)]

    def _updates(self, arch: Architecture, side: int) -> tuple[float, float]:
        """About how many updates the time for the training allows, and the fewest worth it."""
        seconds, steps = self._pace(str(arch), side)
        least, epochs = _WORTH
        return self._time() / seconds * steps, max(least, epochs * steps)


def per_pixel(epochs: float) -> int:
    """Multiply-adds for each pixel that are enough in a training of so many epochs."""
    return PER_PIXEL if epochs < OFTEN else PER_PIXEL // 4


def enough_epochs(steps: int) -> int:
    """Epochs of so many updates that are enough."""
    return min(max(math.ceil(_UPDATES / steps), _EPOCHS[0]), _EPOCHS[1])


def paying_macs(macs: int, updates: float) -> int:
    """The multiply-adds that a network should have where time is short, ``macs`` at most.

    ``updates``: How many the time allows with ``macs``; with half of these, twice as many.
    """
    balanced = math.sqrt(macs * updates / _PAYING)
    return min(macs, round(max(balanced, macs * updates / _UPDATES)))

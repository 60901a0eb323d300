"""What the networks of a search may have at most: parameters, multiply-adds, time of a pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np

from asvit.architectures.base import Growable
from asvit.core.devices import device_failed
from asvit.data.sources import channel_count, class_count
from asvit.measuring.latency import CAREFUL, over_limit
from asvit.search.settings import SearchSettings
from asvit.spaces.architectures import cost
from asvit.spaces.base import Architecture, SearchSpace
from proxies.counts import Cost
from proxies.evaluation import FAILURES
from proxies.messages import fault

_TRIES = 1_000  # draws of which one has to be within the limits
_FEW = 20  # draws that end it if none is within so many times a limit: of sizes, of time
_TIMES, _TIMES_SLOWER = 10, 1
_QUICKEST = 3  # small networks of which one has to keep a limit of latency

Draw = Mapping[str, Any]  # a choice in every dimension
T = TypeVar("T")


class Excess(NamedTuple):
    """How far a network is above a limit."""

    share: float  # of the limit that it has too much; infinite if it cannot be built
    reason: str


class Limits:
    """What lies within the limits of a search.

    Where parameters or multiply-adds are limited, every network is as wide as they allow, if its
    space has widths. ``time`` measures the milliseconds of a network; None leaves its time open.
    ``channels`` are those of the images, by default of those of the settings.
    """

    def __init__(
        self,
        space: SearchSpace,
        settings: SearchSettings,
        time: Callable[[Architecture], float] | None = None,
        *,
        channels: int | None = None,
    ) -> None:
        self._space = space
        self._settings = settings
        self._time, self._given = time, channels

    def network(self, arch: Architecture) -> Architecture:
        """The architecture whose network is trained or measured, where it has a size to choose.

        Where none is narrow enough, it is the narrowest.
        """
        s = self._settings
        if not isinstance(arch, Growable):
            return arch
        if s.sized:
            sizes = s.image_size, self.classes, self.channels
            return _widest(arch, *sizes, s.max_params, s.max_macs, s.width_multiple or 1)
        return arch if s.width is None else arch.with_(width=s.width)

    def shown(self, arch: Architecture) -> Architecture:
        """An architecture as tables show it: below a limit it has the width of its network."""
        return self.network(arch) if self.limited else arch

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self._settings.limited

    @cached_property
    def by_hand(self) -> set[str]:
        """Texts of the networks that one makes by hand, as large as in a search."""
        return {str(self.network(self._space.parse(text))) for text in self._space.by_hand}

    @cached_property
    def classes(self) -> int:
        """With how many classes networks are counted: those of the images where they matter."""
        s = self._settings
        return (class_count(s.data) or s.classes) if s.limited else 1000

    @cached_property
    def channels(self) -> int:
        """Channels of the images."""
        return self._given or channel_count(self._settings.data)

    def cost(self, arch: Architecture | str) -> Cost:
        """Parameters and multiply-adds of an architecture for the images of the search."""
        sizes = self._settings.image_size, self.classes
        return cost(arch, *sizes, in_chans=self.channels)

    def excess(
        self, arch: Architecture, *, timed: bool = True, as_is: bool = False
    ) -> Excess | None:
        """How far the network of an architecture is above a limit; None if it is not.

        It is timed only where its size is within the limits. ``as_is``: the architecture keeps
        its own width. What says nothing of the network is raised: a command or a device fails.
        """
        s = self._settings
        if not s.limited:
            return None
        try:
            network = arch if as_is else self.network(arch)
            size = self.cost(network)
            counts = (
                ("parameters", size.params, s.max_params),
                ("multiply-adds", size.macs, s.max_macs),
            )
            excesses = [
                Excess(have / most - 1, f"{have:,} {what}, more than the {most:,} allowed")
                for what, have, most in counts
                if most is not None and have > most
            ]
            if timed and not excesses and s.max_latency is not None and self._time is not None:
                took, most = self._time(network), CAREFUL * s.max_latency
                if took > most:
                    reason = over_limit(took, s.max_latency, CAREFUL)
                    excesses.append(Excess(took / most - 1, reason))
        except FAILURES as error:
            if isinstance(error, OSError) or device_failed(error):
                raise
            return Excess(math.inf, fault(error))
        return max(excesses, default=None)

    def first(
        self,
        draw: Callable[[], T],
        choices: Callable[[T], Draw],
        *,
        timed: bool = True,
        outside: Callable[[T, Excess], object] = lambda _draw, _excess: None,
    ) -> T:
        """The first draw whose network is within the limits; an error tells of the nearest one.

        ``choices`` gives those of what was drawn; ``outside`` takes each draw that is not within.
        """
        most = _TIMES_SLOWER if timed and self._settings.max_latency is not None else _TIMES
        excesses: list[Excess] = []
        while len(excesses) < _TRIES:
            candidate = draw()
            excess = self.excess(self._space.decode(choices(candidate)), timed=timed)
            if excess is None:
                return candidate
            outside(candidate, excess)
            excesses.append(excess)
            if len(excesses) == _FEW and most < min(excesses).share < math.inf:
                break  # to find the width of each, or to time it, may take a second
        raise ValueError(
            f"none of {len(excesses):,} architectures drawn is within the limits; the nearest "
            f"one: {min(excesses).reason}"
        )

    def sample(self, rng: np.random.Generator) -> Architecture:
        """An architecture drawn uniformly of those whose size is within the limits."""
        space = self._space
        return self.shown(self.first(lambda: space.sample(rng), space.encode, timed=False))


def check_latency(
    networks: Iterable[T], macs: Callable[[T], int], fast_enough: Callable[[T], object]
) -> None:
    """Refuse a limit of latency that small networks do not keep, before anything is spent.

    Of the networks those with the fewest multiply-adds are tried; ``fast_enough`` raises a
    ValueError for a network that is too slow.
    """
    errors = []
    for network in sorted(networks, key=macs)[:_QUICKEST]:
        try:
            fast_enough(network)
            return
        except ValueError as error:
            errors.append(error)
    raise errors[0]


@lru_cache(maxsize=4096)
def _widest(
    arch: Growable,
    side: int,
    classes: int,
    channels: int,
    params: int | None,
    macs: int | None,
    multiple: int,
) -> Growable:
    """The architecture at the largest width within the limits, or else at the smallest there is.

    Widths are multiples of ``multiple``, unless all of them are beyond the limits. The next one to
    try follows from the cost, which grows about with the square of the width.
    """

    def share(multiples: int) -> float:
        """The cost at a width over the limit; 0 where too narrow, infinite where too wide."""
        width = unit * multiples
        try:
            size = cost(arch.with_(width=width), side, classes, in_chans=channels)
        except ValueError:  # fewer channels than heads, or more than the space has
            return 0.0 if width < own else math.inf
        return max(size.params / (params or math.inf), size.macs / (macs or math.inf))

    own: int = arch.width  # type: ignore[attr-defined]
    unit = math.lcm(arch.width_step, multiple)
    below, above, multiples = 0, math.inf, max(1, own // unit)
    while above - below > 1:
        ratio = share(multiples)
        below, above = (multiples, above) if ratio <= 1 else (below, multiples)
        # Twice or half of it at most; 0 and infinity tell nothing of the distance.
        guess = int(multiples * min(2.0, max(0.5, (ratio or 0.25) ** -0.5)))
        multiples = int(min(max(guess, below + 1), above - 1))
    while not share(below):
        below += 1
    if multiple > 1 and share(below) > 1:
        return _widest(arch, side, classes, channels, params, macs, 1)
    return arch.with_(width=unit * below)

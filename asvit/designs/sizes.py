"""Networks of a design as large as its limits allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

from asvit.architectures.base import Growable
from asvit.core.shared_settings import latency_choices, latency_values
from asvit.designs.settings import DesignSettings
from asvit.measuring.latency import CAREFUL, Latency, over_limit
from asvit.search.limits import Limits, check_latency
from asvit.search.settings import LIMITS, SearchSettings
from asvit.spaces import cost, load_space
from asvit.spaces.base import Architecture

_NARROWER = 8  # widths to try where a network is too slow
#: Where latency alone is limited: widths to try, how many times as many multiply-adds the next one
#: has at most, and which share of the time is near enough.
_WIDER, _MORE, _NEAR = 6, 16, 0.85


def limits_of(settings: DesignSettings) -> SearchSettings:
    """Settings of a search with the limits of a design alone."""
    names = (*LIMITS, "width_multiple")
    limits: dict[str, Any] = {name: getattr(settings, name) for name in names}
    if settings.max_latency is not None:
        limits |= latency_values(settings)
    return SearchSettings(trainings=1, **limits)


class Sizes:
    """The widths that the limits of a design allow.

    Args:
        settings: Of the design.
        classes: Of its pictures.
        channels: Of its pictures.
        latency: Measures the network of a text at a side of images in pixels.
    """

    def __init__(
        self,
        settings: DesignSettings,
        classes: int,
        channels: int,
        latency: Callable[[str, int], Latency],
    ) -> None:
        self._settings, self._classes, self._channels = settings, classes, channels
        self._latency = cache(latency)
        self._in_time = cache(self._find_in_time)
        self._as_slow: int | None = None  # multiply-adds of a network that is nearly too slow

    def limits(self, side: int, *, macs: int | None = None) -> Limits:
        """The limits of networks for images of this side, and one of multiply-adds beside."""
        s = self._settings
        most = min((limit for limit in (s.max_macs, macs) if limit is not None), default=None)
        limits = replace(
            limits_of(s),
            space=s.space,
            classes=self._classes,
            image_size=side,
            max_macs=most,
            width=None,
        )
        return Limits(
            load_space(s.space),
            limits,
            lambda arch: self._latency(str(arch), side).milliseconds,
            channels=self._channels,
        )

    def check(self, arch: Architecture, side: int) -> None:
        """Check that the network of an architecture is within the limits at its own width.

        Raises:
            ValueError: If it is not.
        """
        if (excess := self.limits(side).excess(arch, as_is=True)) is not None:
            raise ValueError(f"{arch}: {excess.reason}")

    def macs(self, arch: Architecture | str, side: int) -> int:
        """Multiply-adds of the network of an architecture or its text."""
        return cost(arch, side, self._classes, in_chans=self._channels).macs

    def widest(self, arch: Architecture, side: int, share: float = 1.0) -> Architecture:
        """The architecture as wide as the limits allow, or with a share of its multiply-adds.

        Raises:
            ValueError: If it is beyond them at any width.
        """
        most = None
        if share < 1:
            whole = self._in_time(arch, side) if self._timed else self.limits(side).network(arch)
            most = round(share * self.macs(whole, side))
        return self.with_macs(arch, side, most)

    def with_macs(self, arch: Architecture, side: int, most: int | None) -> Architecture:
        """The architecture as wide as the limits and so many multiply-adds allow.

        Raises:
            ValueError: If it is beyond them at any width.
        """
        if most is None and self._timed:
            return self._in_time(arch, side)
        limits = self.limits(side, macs=most)
        widest = limits.network(arch)
        if (excess := limits.excess(widest, timed=False)) is not None:
            raise ValueError(f"{widest}: {excess.reason}")
        return self._fast_enough(widest, side)

    def check_speed(self, architectures: Sequence[Architecture], side: int) -> None:
        """Check that the quickest of these keeps the limit of latency at some width.

        Without a limit the outcome alone is timed, after all trainings. Where a command or another
        runtime is to do that, it has to time a network now.

        Raises:
            ValueError: If it does not, or cannot run the network.
            OSError: If the command fails.
        """
        s, networks = self._settings, map(self.limits(side, macs=1).network, architectures)
        if s.max_latency is not None:
            check_latency(
                networks,
                lambda arch: self.macs(arch, side),
                lambda arch: self._fast_enough(arch, side),
            )
        elif latency_choices(s):
            self._latency(str(next(networks)), side)

    @property
    def _timed(self) -> bool:
        """Whether nothing but latency limits the networks."""
        return self._settings.max_params is None and self._settings.max_macs is None

    def _find_in_time(self, arch: Architecture, side: int) -> Architecture:
        """The architecture about as wide as the limit of latency alone allows.

        A pass has a cost of its own beside that of the multiply-adds, so networks with as many of
        these as its time would be enough for are not too slow, and the next ones come nearer.
        """
        most = CAREFUL * float(self._settings.max_latency or math.inf)
        macs = self._as_slow or self.macs(arch, side)
        widest: Architecture | None = None
        for _ in range(_WIDER):
            network = self.limits(side, macs=macs).network(arch)
            if network == widest:  # there is no wider one
                break
            took = self._latency(str(network), side).milliseconds
            widest = network
            if took >= _NEAR * most:
                break
            macs = round(self.macs(network, side) * min(most / took, _MORE))
        network = self._fast_enough(network, side)
        self._as_slow = self.macs(network, side)
        return network

    def _fast_enough(self, arch: Architecture, side: int) -> Architecture:
        """The architecture, narrower where it is too slow."""
        most = self._settings.max_latency
        if most is None:
            return arch
        multiple, took = self._settings.width_multiple or 1, math.inf
        narrower: Architecture | None = arch
        for _ in range(_NARROWER):
            if narrower is None:
                break
            arch, took = narrower, self._latency(str(narrower), side).milliseconds
            if took <= CAREFUL * most:
                return arch
            narrower = _narrower(arch, CAREFUL * most / took, multiple)
        raise ValueError(f"{arch} takes {over_limit(took, most, CAREFUL)}")


def _narrower(arch: Architecture, share: float, multiple: int) -> Architecture | None:
    """The architecture at about a share of its width, or the narrowest; None where there is none.

    Widths are multiples of ``multiple``. Those with fewer channels than heads are passed over.
    """
    if not isinstance(arch, Growable):
        return None
    width: int = arch.width  # type: ignore[attr-defined]
    first = int(share * width) // multiple * multiple
    for narrower in range(max(multiple, first), width, multiple):
        with suppress(ValueError):
            return arch.with_(width=narrower)
    return None

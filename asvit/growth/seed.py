"""The architecture that a growth starts from: built, counted and named by depths and width."""

from collections.abc import Callable
from functools import cached_property

from torch import nn

from asvit.data.sources import channel_count
from asvit.growth.settings import ScaleSettings
from asvit.measuring.latency import CAREFUL
from asvit.spaces import SearchSpace, cost
from asvit.spaces.architectures import find
from asvit.spaces.base import Architecture
from proxies import Cost
from proxies.counts import TimedCost
from scaling.growth import check_budget, measured_shape
from scaling.shapes import Shape


class GrowthSeed:
    """The architecture that a scaling starts from, at other depths and widths.

    ValueError is raised where it has none, does not fit the image sizes, or cannot be built at the
    measured width.
    """

    def __init__(self, settings: ScaleSettings) -> None:
        self.space, self._seed = find_growable(settings.architecture)
        self.start = Shape(tuple(self._seed.depths), self._seed.width)
        #: What widths are multiples of; architectures of other packages may not say.
        self.width_step: int = getattr(self._seed, "width_step", 1)
        #: The start at the width that it is measured at.
        self.measured_start = measured_shape(self.start, settings.ratio, self.width_step)
        self.time: Callable[[str], float] | None = None  #: milliseconds of a text's network
        self._settings = settings
        for side in (settings.image_size, settings.count_size):
            self.space.check(self._seed, side)
        try:
            self.name(*self.measured_start)
        except ValueError as error:
            raise ValueError(
                f"width {self.start.width} measured at ratio {settings.ratio} is "
                f"{self.measured_start.width}, which cannot be built: {error}; use a larger ratio "
                "or width"
            ) from error

    @cached_property
    def channels(self) -> int:
        """Channels of the images that are measured on."""
        return channel_count(self._settings.data)

    def name(self, depths: tuple[int, ...], width: int) -> str:
        """The canonical text."""
        return str(self._seed.with_(depths=depths, width=width))

    def check_budget(self) -> None:
        """Refuse a budget that is out of reach of the start; one of a time takes the time."""
        s = self._settings
        share = f", of which growth uses {CAREFUL:.0%} as times vary," if s.timed else ""
        name = f"{s.limits[-1]}{share}"
        check_budget(s.targets[-1], self.cost(*self.start), s.stop_within, name=name)

    def build(self, depths: tuple[int, ...], width: int) -> nn.Module:
        """A freshly initialised network for the images that are measured on."""
        text, side = self.name(depths, width), self._settings.image_size
        return self.space.build(text, image_size=side, in_chans=self.channels)

    def cost(self, depths: tuple[int, ...], width: int) -> Cost:
        """Parameters, and multiply-adds at the size they are counted for; the time, if set."""
        s, text = self._settings, self.name(depths, width)
        counts = cost(text, s.count_size, s.classes, in_chans=self.channels)
        if self.time is None:
            return counts
        return TimedCost(counts.params, counts.macs, self.time(text))


def find_growable(arch: Architecture | str) -> tuple[SearchSpace, Architecture]:
    """The space of an architecture that can be grown, or of its text, and the architecture."""
    space, architecture = find(arch)
    if not all(hasattr(architecture, name) for name in ("with_", "depths", "width")):
        raise ValueError(
            f"architectures of space {space.name!r}, such as {arch}, have no depths and width to "
            "grow; use one of another space"
        )
    return space, architecture

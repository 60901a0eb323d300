"""An architecture as growth sees it: built, counted and named by depths and width."""

from torch import nn

from asvit.growth import ScaleSettings
from asvit.spaces import SearchSpace, cost
from asvit.spaces.architectures import find
from asvit.spaces.base import Architecture
from asvit.spaces.families import PREFIX
from proxies import Cost
from scaling import Shape
from scaling.growth import check_budget, measured_shape


class Growable:
    """The architecture that a scaling starts from, at other depths and widths.

    ValueError is raised where it has none, does not fit the image sizes, cannot be built at the
    measured width, or the budget is out of its reach.
    """

    def __init__(self, settings: ScaleSettings) -> None:
        self.space, self._seed = find_growable(settings.architecture)
        self.start = Shape(tuple(self._seed.depths), self._seed.width)
        self._settings = settings
        for side in (settings.image_size, settings.count_size):
            self.space.check(self._seed, side)
        self._check_measured_width()
        check_budget(settings.limits[-1], self.cost(*self.start), settings.stop_within)

    def name(self, depths: tuple[int, ...], width: int) -> str:
        """The canonical text."""
        return str(self._seed.with_(depths=depths, width=width))

    def build(self, depths: tuple[int, ...], width: int) -> nn.Module:
        """A freshly initialised network for the images that are measured on."""
        side = self._settings.image_size
        return self.space.build(self._seed, image_size=side, depths=depths, width=width)

    def cost(self, depths: tuple[int, ...], width: int) -> Cost:
        """Parameters, and multiply-adds at the size they are counted for."""
        chosen = self._settings
        return cost(self.name(depths, width), chosen.count_size, chosen.classes)

    def _check_measured_width(self) -> None:
        small = measured_shape(self.start, self._settings.ratio)
        try:
            self.name(*small)
        except ValueError as error:
            raise ValueError(
                f"width {self.start.width} measured at ratio {self._settings.ratio} is "
                f"{small.width}, which cannot be built: {error}; use a larger ratio or width"
            ) from error


def find_growable(arch: Architecture | str) -> tuple[SearchSpace, Architecture]:
    """The space of an architecture that can be grown, or of its text, and the architecture."""
    if isinstance(arch, str) and arch.startswith(PREFIX):
        raise ValueError(f"{arch!r} has its own depths and width; only our spaces can be grown")
    space, architecture = find(arch)
    if not all(hasattr(architecture, name) for name in ("with_", "depths", "width")):
        raise ValueError(
            f"architectures of space {space.name!r}, such as {arch}, have no depths and width to "
            "grow; use one of another space"
        )
    return space, architecture

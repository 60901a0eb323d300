"""The ShiftViT space: depth split, feed-forward ratio, and the shift."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from asvit.architectures.shiftvit import PREFIX, ShiftArchitecture
from asvit.models import ShiftViT
from asvit.spaces.base import Choice, SearchSpace, register_space, size_features

#: Pixels per side for which stage 4 has one position.
LEAST_SIDE: Final = 32


@register_space
class ShiftViTSpace(SearchSpace):
    """Depth split, ratio, shifted fraction and step of a ShiftViT; the choices are ours.

    The paper compares ratios 1 to 4, shifted fractions 4/20, 4/16, 4/12 and 4/8, and steps 0, 1
    and 2, one at a time. The space has them all except step 0, at which nothing mixes positions
    within a stage. The depths are around those of the paper's lightest network. Texts may also be
    outside the choices: grown ones and ablations.
    """

    name = "shiftvit"
    prefix = PREFIX
    description = "depth split, feed-forward ratio, shifted fraction and step; no attention"
    paper = "ShiftViT, arXiv:2201.10801"
    architecture = ShiftArchitecture
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]] = {
        **{"L1": (1, 2, 3), "L2": (1, 2, 3), "L3": (2, 4, 6), "L4": (1, 2, 3)},
        **{"R": (1, 2, 3, 4), "N": (20, 16, 12, 8), "S": (1, 2)},
    }
    legend: ClassVar[Mapping[str, str]] = {
        "L1 to L4": "blocks in each stage",
        "R": "hidden width of the feed-forward layers, times the width of the stage",
        "N": "each of the four shifted groups has 1/N of the channels",
        "S": "positions by which a group is shifted",
    }
    by_hand = ("shift:2,2,6,2|4|12|1|96",)  # the lightest published

    def values(self, arch: ShiftArchitecture) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        return (*arch.depths, arch.ratio, arch.n_div, arch.step)

    def features(self, arch: ShiftArchitecture) -> dict[str, float]:
        """See :meth:`SearchSpace.features`; with the number of blocks and the width."""
        return super().features(arch) | size_features(sum(arch.depths), arch.width)

    def from_values(self, values: Sequence[int]) -> ShiftArchitecture:
        """See :meth:`SearchSpace.from_values`."""
        a, b, c, d, ratio, n_div, step = values
        return ShiftArchitecture((a, b, c, d), ratio, n_div, step)

    def make_network(self, arch: ShiftArchitecture, image_size: int, **options: Any) -> ShiftViT:
        """See :meth:`SearchSpace.make_network`."""
        return ShiftViT(**vars(arch), **options)

    def check(self, arch: ShiftArchitecture | str, image_size: int) -> None:
        """See :meth:`SearchSpace.check`; independent of the architecture."""
        self.read(arch)
        if image_size < LEAST_SIDE:
            raise ValueError(
                f"an image of {image_size} px leaves stage 4 no position; "
                f"use {LEAST_SIDE} px or more"
            )

"""The ShiftViT space: depth split, feed-forward ratio, and the shift; and that of its stems."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from asvit.architectures.parts import PART_CHOICES, PUBLISHED
from asvit.architectures.shiftvit import PREFIX, ShiftArchitecture
from asvit.models import ShiftViT
from asvit.models.shiftvit import DIRECTIONS
from asvit.spaces.asvit import AsVitPartsSpace
from asvit.spaces.base import (
    Architecture,
    Choice,
    SearchSpace,
    dimension_features,
    register_space,
    size_features,
)

#: Pixels per side for which stage 4 has one position.
LEAST_SIDE: Final = 32
_STEM: Final = {"stem": PART_CHOICES["stem"]}


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

    def __contains__(self, arch: Architecture) -> bool:
        """See :meth:`SearchSpace.__contains__`; depths may be grown."""
        return super().__contains__(arch) and arch.stem == PUBLISHED.stem

    def values(self, arch: ShiftArchitecture) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        if arch.stem != PUBLISHED.stem:
            raise ValueError(
                f"{arch} is not in space {self.name!r}, whose stem is the published one; "
                f"leave out ;stem={arch.stem} or use space 'shiftvit-parts'"
            )
        return _sizes(arch)

    def features(self, arch: ShiftArchitecture) -> dict[str, float]:
        """See :meth:`SearchSpace.features`; with the stem, the number of blocks and the width."""
        stem = dimension_features(_STEM, [arch.stem])
        return super().features(arch) | stem | size_features(sum(arch.depths), arch.width)

    def from_values(self, values: Sequence[Any]) -> ShiftArchitecture:
        """See :meth:`SearchSpace.from_values`."""
        a, b, c, d, ratio, n_div, step = values
        return ShiftArchitecture((a, b, c, d), ratio, n_div, step)

    def make_network(self, arch: ShiftArchitecture, image_size: int, **options: Any) -> ShiftViT:
        """See :meth:`SearchSpace.make_network`."""
        return ShiftViT(**vars(arch), **options)

    def check(self, arch: ShiftArchitecture | str, image_size: int) -> None:
        """See :meth:`SearchSpace.check`; no shift may move all channels out of a stage's map."""
        parsed = self.read(arch)
        if image_size < LEAST_SIDE:
            raise ValueError(
                f"an image of {image_size} px leaves stage 4 no position; "
                f"use {LEAST_SIDE} px or more"
            )
        last = image_size // LEAST_SIDE  # positions per side of stage 4
        if parsed.n_div == len(DIRECTIONS) and last <= parsed.step:
            raise ValueError(
                f"stage 4 has sides of {last} at {image_size} px, and {parsed} moves every "
                f"channel by {parsed.step}, so nothing is left; use an n_div above "
                f"{len(DIRECTIONS)}, or {(parsed.step + 1) * LEAST_SIDE} px"
            )


@register_space
class ShiftViTPartsSpace(ShiftViTSpace):
    """The ShiftViT space with the stem as a further dimension."""

    name = "shiftvit-parts"
    description = "ShiftViT with stems of patches or of convolutions"
    by_hand = ("shift:1,1,2,1|4|12|1|96;stem=deep",)  # fewer blocks learn sooner
    paper = "ShiftViT, arXiv:2201.10801; stems of 2106.14881"
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]] = {**ShiftViTSpace.dimensions, **_STEM}
    legend: ClassVar[Mapping[str, str]] = {
        **ShiftViTSpace.legend,
        "stem": AsVitPartsSpace.legend["stem"],
    }

    def __contains__(self, arch: Architecture) -> bool:
        """See :meth:`SearchSpace.__contains__`; any stem."""
        return type(arch) is self.architecture

    def values(self, arch: ShiftArchitecture) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        return (*_sizes(arch), arch.stem)

    def from_values(self, values: Sequence[Any]) -> ShiftArchitecture:
        """See :meth:`SearchSpace.from_values`."""
        *sizes, stem = values
        return replace(super().from_values(sizes), stem=stem)


def _sizes(arch: ShiftArchitecture) -> tuple[Choice, ...]:
    """The choices in the dimensions of the published networks."""
    return (*arch.depths, arch.ratio, arch.n_div, arch.step)

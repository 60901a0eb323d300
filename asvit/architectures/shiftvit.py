"""The ShiftViT architecture: depths, feed-forward ratio, shift, width and stem."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from asvit.architectures.base import DEPTH_CHOICES, Field, Growable, Limits, TextArchitecture
from asvit.architectures.genotype import FOUR, PART_CHOICES

#: Pixels per side for which stage 4 has one position.
LEAST_SIDE: Final = 32
GROUPS: Final = 4  # of channels, which move left, right, up and down


@dataclass(frozen=True)
class ShiftArchitecture(TextArchitecture, Growable):
    """``shift:L,L,L,L|RATIO|N_DIV|STEP|WIDTH[;stem=STEM]``: a ShiftViT architecture.

    Choices are wide enough to catch typos only.

    References:
        Wang et al. 2022, arXiv:2201.10801.
    """

    prefix: ClassVar[str] = "shift:"
    form: ClassVar[str] = "shift:L,L,L,L|RATIO|N_DIV|STEP|WIDTH, as in shift:2,2,6,2|4|12|1|96"
    fields: ClassVar[Mapping[str, Field]] = {
        "depths": Field("depth", DEPTH_CHOICES, FOUR),
        "ratio": Field("ratio", Limits(1, 64)),
        "n_div": Field("n_div", range(GROUPS, 1025)),
        "step": Field("step", range(257)),
        "width": Field("width", range(1, 1025)),
        "stem": Field("stem", PART_CHOICES["stem"]),
    }
    layout: ClassVar[str] = "depths|ratio|n_div|step|width"

    depths: tuple[int, int, int, int]  # blocks in each stage
    ratio: float = 2  # hidden width of the feed-forward part over the width of the stage
    n_div: int = 12  # each of the four shifted groups has 1 / n_div of the channels, rounded down
    step: int = 1  # positions by which a group moves; 0 for none
    width: int = 48  # channels of stage 1, which 8, 12 and 16 divide; later stages double them
    stem: str = PART_CHOICES["stem"][0]  # as in an As-ViT

    def check(self, image_size: int) -> None:
        """Refuse images of which stage 4 has no position, or a shift leaves nothing."""
        side = image_size // LEAST_SIDE  # positions per side of stage 4
        least = self.step if self.n_div == GROUPS else 0
        if side <= least:
            raise ValueError(
                f"an image of {image_size} px leaves stage 4 of {self} nothing; "
                f"use {(least + 1) * LEAST_SIDE} px or more"
            )

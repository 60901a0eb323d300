"""The ShiftViT architecture as text and as a frozen dataclass.

``shift:L,L,L,L|RATIO|N_DIV|STEP|WIDTH``, and ``;stem=deep`` behind it for another stem than the
published one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from asvit.architectures.base import DEPTH_CHOICES, Growable, checked_choice, checked_stages
from asvit.architectures.parts import PUBLISHED, Parts
from proxies.text import shown

PREFIX: Final = "shift:"
FORM: Final = f"{PREFIX}L,L,L,L|RATIO|N_DIV|STEP|WIDTH, as in {PREFIX}2,2,6,2|4|12|1|96"
STAGES: Final = 4
#: The smallest width that 8, 12 and 16 divide.
DEFAULT_WIDTH: Final = 48
#: Attribute -> its choices, wide enough to catch typos only.
_CHOICES: Final[Mapping[str, range]] = {
    "n_div": range(4, 1025),
    "step": range(257),
    "width": range(1, 1025),
}
_RATIOS: Final = (1, 64)
_WHOLE: Final = " *([0-9]{1,5}) *"
_DECIMALS: Final = 6
_DECIMAL: Final = rf" *([0-9]{{1,5}}(?:\.[0-9]{{1,{_DECIMALS}}})?) *"
_TEXT: Final = re.compile(
    PREFIX + r"\|".join([",".join([_WHOLE] * STAGES), _DECIMAL, _WHOLE, _WHOLE, _WHOLE])
)


@dataclass(frozen=True)
class ShiftArchitecture(Growable):
    """``shift:L,L,L,L|RATIO|N_DIV|STEP|WIDTH[;stem=STEM]``: a ShiftViT architecture.

    References:
        Wang et al. 2022, arXiv:2201.10801.
    """

    depths: tuple[int, int, int, int]  # blocks in each stage, 1 to 256
    # Hidden width of the feed-forward part over the width of the stage, 1 to 64, to 6 decimals.
    ratio: float = 2
    # Each of the four shifted groups has 1 / n_div of the channels, rounded down; 4 to 1024.
    n_div: int = 12
    step: int = 1  # positions by which a group moves; 0 for none
    width: int = DEFAULT_WIDTH  # channels of stage 1, 1 to 1024; each later stage doubles them
    stem: str = PUBLISHED.stem  # as in :class:`asvit.architectures.parts.Parts`

    def __post_init__(self) -> None:
        # Accept lists (from JSON) and NumPy integers; store plain tuples and ints.
        depths = checked_stages("depths", "depth", self.depths, (DEPTH_CHOICES,) * STAGES)
        object.__setattr__(self, "depths", depths)
        for name, choices in _CHOICES.items():
            object.__setattr__(self, name, checked_choice(name, getattr(self, name), choices))
        low, high = _RATIOS
        ratio = round(float(self.ratio), _DECIMALS)
        if not low <= ratio <= high:
            raise ValueError(f"ratio={ratio:.12g} is not allowed; use {low} to {high}")
        object.__setattr__(self, "ratio", int(ratio) if ratio.is_integer() else ratio)
        Parts(stem=self.stem)  # one of its choices

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``shift:L,L,L,L|RATIO|N_DIV|STEP|WIDTH``; spaces around numbers are fine."""
        sizes, semicolon, other = text.partition(";")
        match = _TEXT.fullmatch(sizes)
        if match is None:
            raise ValueError(f"{shown(text)} is not {FORM}")
        parts = Parts.parse(other) if semicolon else PUBLISHED
        if parts != Parts(stem=parts.stem):
            raise ValueError(
                f"{shown(text)} has parts of an As-ViT; a ShiftViT has the stem alone"
            )
        *depths, ratio, n_div, step, width = match.groups()
        a, b, c, d = map(int, depths)
        return cls((a, b, c, d), float(ratio), int(n_div), int(step), int(width), parts.stem)

    def __str__(self) -> str:
        """The canonical text."""
        depths = ",".join(map(str, self.depths))
        text = f"{PREFIX}{depths}|{self.ratio}|{self.n_div}|{self.step}|{self.width}"
        return text if self.stem == PUBLISHED.stem else f"{text};stem={self.stem}"

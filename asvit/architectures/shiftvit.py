"""The ShiftViT architecture as text and as a frozen dataclass.

``shift:L,L,L,L|RATIO|N_DIV|STEP|WIDTH``, and parts such as ``;stem=conv,init=width`` behind it
that are not the published ones.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as shown  # escaped, and cut when long
from typing import Final, Self

from asvit.architectures.base import DEPTH_CHOICES, Growable, checked_choice, checked_stages
from asvit.architectures.parts import PUBLISHED, Parts

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
#: The parts of a ShiftViT, among those of :mod:`asvit.architectures.parts`.
PARTS: Final = ("stem", "init")
_WHOLE: Final = " *([0-9]{1,5}) *"
_DECIMALS: Final = 6
_DECIMAL: Final = rf" *([0-9]{{1,5}}(?:\.[0-9]{{1,{_DECIMALS}}})?) *"
_TEXT: Final = re.compile(
    PREFIX + r"\|".join([",".join([_WHOLE] * STAGES), _DECIMAL, _WHOLE, _WHOLE, _WHOLE])
)


@dataclass(frozen=True)
class ShiftArchitecture(Growable):
    """``shift:L,L,L,L|RATIO|N_DIV|STEP|WIDTH[;PART=...,PART=...]``: a ShiftViT architecture.

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
    init: str = PUBLISHED.init  # the same

    def __post_init__(self) -> None:
        # Accept lists (from JSON) and NumPy integers; store plain tuples and ints.
        depths = checked_stages("depths", "depth", self.depths, (DEPTH_CHOICES,) * STAGES)
        object.__setattr__(self, "depths", depths)
        for name, choices in _CHOICES.items():
            object.__setattr__(self, name, checked_choice(name, getattr(self, name), choices))
        low, high = _RATIOS
        ratio = round(float(self.ratio), _DECIMALS)
        if not low <= ratio <= high:
            raise ValueError(f"ratio={ratio:g} is not allowed; use {low} to {high}")
        object.__setattr__(self, "ratio", int(ratio) if ratio.is_integer() else ratio)
        str(self)  # each part is one of its choices

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``shift:L,L,L,L|RATIO|N_DIV|STEP|WIDTH``; spaces around numbers are fine."""
        sizes, semicolon, other = text.partition(";")
        match = _TEXT.fullmatch(sizes)
        if match is None:
            raise ValueError(f"{shown(text)} is not {FORM}")
        parts = Parts.parse(other) if semicolon else PUBLISHED
        own = {name: getattr(parts, name) for name in PARTS}
        if parts != Parts(**own):
            raise ValueError(
                f"{shown(text)} has parts of an As-ViT; a ShiftViT has {' and '.join(PARTS)} alone"
            )
        *depths, ratio, n_div, step, width = match.groups()
        a, b, c, d = map(int, depths)
        return cls((a, b, c, d), float(ratio), int(n_div), int(step), int(width), **own)

    def __str__(self) -> str:
        """The canonical text."""
        depths = ",".join(map(str, self.depths))
        text = f"{PREFIX}{depths}|{self.ratio}|{self.n_div}|{self.step}|{self.width}"
        parts = str(self._parts)
        return f"{text};{parts}" if parts else text

    @property
    def _parts(self) -> Parts:
        """The parts; raises ValueError if one is not one of its choices."""
        return Parts(**{name: getattr(self, name) for name in PARTS})

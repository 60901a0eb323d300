"""As-ViTs with parts of the other systems, as text and as a frozen dataclass."""

from dataclasses import dataclass
from typing import Final, Self

from asvit.architectures.genotype import STAGES, Genotype
from proxies.text import shown

PREFIX: Final = "mixed:"
FORM: Final = (
    f"{PREFIX}, an As-ViT's text, and its parts, as in "
    f"{PREFIX}8,2,3|4,1,2|4,1,4|4,1,6|32|ssaa|ffcc|p"
)
ATTENTION, SHIFT = "a", "s"
FULL, COMPACT = "f", "c"
REEMBEDDING, POOLING = "r", "p"
#: Attribute -> its letters, and how many of them there are, in the order of the text.
_PARTS: Final = {
    "mixing": (ATTENTION + SHIFT, STAGES),
    "ffns": (FULL + COMPACT, STAGES),
    "last": (REEMBEDDING + POOLING, 1),
}


@dataclass(frozen=True)
class MixedArchitecture(Genotype):
    """``mixed:ASVIT|MIX|FFN|LAST``: an As-ViT with parts of the other systems.

    A stage mixes its tokens by attention (``a``) or by a shift (``s``), has full (``f``) or
    compact (``c``) feed-forward parts, and what leads to the last stage is a re-embedding (``r``)
    or PSViT's pooling (``p``).

    Raises:
        ValueError: As :class:`Genotype`, or for another letter.
    """

    mixing: str = ATTENTION * STAGES  #: a letter for each stage
    ffns: str = FULL * STAGES  #: a letter for each stage
    last: str = REEMBEDDING

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, (allowed, count) in _PARTS.items():
            letters = getattr(self, name)
            if len(letters) != count or not set(letters) <= set(allowed):
                listed = " or ".join(allowed)
                raise ValueError(f"{name}={shown(letters)} is not {count} of {listed}; use {FORM}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``mixed:ASVIT|MIX|FFN|LAST``."""
        topology, *letters = text.removeprefix(PREFIX).rsplit("|", len(_PARTS))
        if not text.startswith(PREFIX) or topology.count("|") != STAGES:
            raise ValueError(f"{shown(text)} is not {FORM}")
        mixing, ffns, last = map(str.strip, letters)
        fields = vars(Genotype.parse(topology))
        return cls(**fields, mixing=mixing, ffns=ffns, last=last)

    def __str__(self) -> str:
        """The canonical text."""
        return "|".join((PREFIX + super().__str__(), self.mixing, self.ffns, self.last))

"""As-ViTs with parts of the other systems, as text and as a frozen dataclass."""

from dataclasses import dataclass, replace
from typing import Final, Self

from asvit.architectures.genotype import (
    HEAD_CHOICES,
    KERNEL_CHOICES,
    SPLIT_CHOICES,
    STAGES,
    Genotype,
)
from asvit.architectures.parts import PUBLISHED
from proxies.text import shown

PREFIX: Final = "mixed:"
FORM: Final = (
    f"{PREFIX}, an As-ViT's text, and its parts, as in "
    f"{PREFIX}8,2,3|4,1,2|4,1,4|2,1,6|32|ssaa|ffcc|p"
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

    What has no effect is its first choice, so that equal networks have equal texts: the splits of
    a stage that shifts, the kernel K4 beside a pooling, and heads and local mixing where all
    stages shift.

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
        stages = zip(self.mixing, self.splits, SPLIT_CHOICES, strict=True)
        splits = tuple(first if mix == SHIFT else own for mix, own, (first, *_) in stages)
        effective: dict[str, object] = {"splits": splits}
        if self.last == POOLING:
            effective["kernels"] = (*self.kernels[:-1], KERNEL_CHOICES[-1][0])
        if self.mixing == SHIFT * STAGES:
            effective["heads"] = HEAD_CHOICES[0]
            effective["parts"] = replace(self.parts, mixing=PUBLISHED.mixing)
        for name, value in effective.items():
            object.__setattr__(self, name, value)

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

"""As-ViTs with parts of ShiftViT, PSViT and compact networks, as one search space."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from asvit.genotype import STAGES, Genotype
from asvit.models.mixed import MixedViT
from asvit.spaces.asvit import AsVitSpace
from asvit.spaces.base import Architecture, Choice, register_space
from proxies.messages import shown

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


@register_space
class MixedSpace(AsVitSpace):
    """The As-ViT space with a shift in early stages, compact parts in late ones, and a pooling.

    The combination is ours; no paper has it.
    """

    name = "mixed"
    prefix = PREFIX
    description = "As-ViT with shifts in early stages, compact parts in late ones, pooling"
    paper = "ours, parts of arXiv:2201.10801, 2108.03428, 2306.10875"
    architecture = MixedArchitecture
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]] = {
        **AsVitSpace.dimensions,
        **{f"M{i}": (ATTENTION, SHIFT) for i in (1, 2, 3)},
        **{f"F{i}": (FULL, COMPACT) for i in (2, 3, 4)},
        "P": (REEMBEDDING, POOLING),
    }
    legend: ClassVar[Mapping[str, str]] = {
        **dict(list(AsVitSpace.legend.items())[:-1]),
        "M1 to M3": "what mixes the tokens of stages 1 to 3: attention, a, or a shift, s",
        "F2 to F4": "feed-forward parts of stages 2 to 4: full, f, or compact, c",
        "P": "before stage 4: a re-embedding, r, or a pooling, p",
    }

    def values(self, arch: Architecture) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        return (*super().values(arch), *arch.mixing[:3], *arch.ffns[1:], arch.last)

    def from_values(self, values: Sequence[Any]) -> MixedArchitecture:
        """See :meth:`SearchSpace.from_values`."""
        *topology, m1, m2, m3, f2, f3, f4, last = values
        fields = vars(super().from_values(topology))
        return MixedArchitecture(
            **fields, mixing=m1 + m2 + m3 + ATTENTION, ffns=FULL + f2 + f3 + f4, last=last
        )

    def parse(self, text: str) -> MixedArchitecture:
        """See :meth:`SearchSpace.parse`; texts may also shift in stage 4, or be compact in 1."""
        return self.architecture.parse(text)

    def make_network(self, arch: Architecture, image_size: int, **options: Any) -> MixedViT:
        """See :meth:`SearchSpace.make_network`."""
        stages = range(STAGES)
        return MixedViT(
            arch,
            shifted=[i for i in stages if arch.mixing[i] == SHIFT],
            compact=[i for i in stages if arch.ffns[i] == COMPACT],
            pooled=arch.last == POOLING,
            img_size=image_size,
            **options,
        )

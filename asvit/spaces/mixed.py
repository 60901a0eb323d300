"""As-ViTs with parts of ShiftViT, PSViT and compact networks, as one search space."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from asvit.architectures.genotype import STAGES
from asvit.architectures.mixed import (
    ATTENTION,
    COMPACT,
    FULL,
    POOLING,
    PREFIX,
    REEMBEDDING,
    SHIFT,
    MixedArchitecture,
)
from asvit.models.mixed import MixedViT
from asvit.spaces.asvit import AsVitSpace
from asvit.spaces.base import Architecture, Choice, dimension_features, register_space

#: Letters that the space fixes, to the first choice of each; a text may have the other.
_FIXED: Final = {"M4": (ATTENTION, SHIFT), "F1": (FULL, COMPACT)}
#: Dimension -> another one, and the choice in it beside which the dimension counts.
_COUNTS_BESIDE: Final = {f"S{i}": (f"M{i}", ATTENTION) for i in (1, 2, 3)} | {
    "K4": ("P", REEMBEDDING)
}


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
    by_hand: ClassVar[Sequence[str]] = ()

    @property
    def size(self) -> int:
        """Number of architectures."""
        counts = {name: len(choices) for name, choices in self.dimensions.items()}
        pairs = [(counts[name], counts[other]) for name, (other, _) in _COUNTS_BESIDE.items()]
        distinct = math.prod(count + others - 1 for count, others in pairs)
        return super().size // math.prod(map(math.prod, pairs)) * distinct

    def active(self, params: Mapping[str, Choice]) -> Iterable[str]:
        """See :meth:`SearchSpace.active`: shifts have no splits, and a pooling no kernel K4."""
        idle = {name for name, (other, one) in _COUNTS_BESIDE.items() if params[other] != one}
        return [name for name in self.dimensions if name not in idle]

    def values(self, arch: Architecture) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        inside = _inside(arch)
        if arch != inside:
            raise ValueError(
                f"{arch} is not in space {self.name!r}, where stage 4 attends and stage 1 has "
                f"full feed-forward parts; use {inside.mixing}|{inside.ffns}"
            )
        return (*super().values(arch), *arch.mixing[:3], *arch.ffns[1:], arch.last)

    def features(self, arch: Architecture) -> dict[str, float]:
        """See :meth:`SearchSpace.features`; with the letters that only texts vary."""
        fixed = dimension_features(_FIXED, (arch.mixing[3], arch.ffns[0]))
        return super().features(_inside(arch)) | fixed

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


def _inside(arch: MixedArchitecture) -> MixedArchitecture:
    """The architecture with the letters that the space fixes."""
    return replace(arch, mixing=arch.mixing[:3] + ATTENTION, ffns=FULL + arch.ffns[1:])

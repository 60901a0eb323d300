"""The As-ViT search space, a small subset of it, and the space of its parts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from asvit.architectures.genotype import (
    EXPANSION_CHOICES,
    HEAD_CHOICES,
    KERNEL_CHOICES,
    SPLIT_CHOICES,
    Genotype,
)
from asvit.architectures.parts import PART_CHOICES, PUBLISHED, Parts
from asvit.models import AsViT
from asvit.spaces.base import (
    Architecture,
    Choice,
    SearchSpace,
    dimension_features,
    register_space,
    size_features,
    stage_features,
)

#: Parts that the spaces do not vary, as no gain of theirs was shown.
_UNVARIED: Final = ("positions",)


@register_space
class AsVitSpace(SearchSpace):
    """Kernel, attention splits and expansion of every stage, and the heads: 12 dimensions.

    References:
        Chen et al. 2022, "Auto-scaling Vision Transformers without Training", arXiv:2202.11921.
    """

    name = "asvit"
    description = "kernels, attention splits, expansions and heads of a four-stage pyramid"
    paper = "As-ViT, arXiv:2202.11921"
    architecture = Genotype
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]] = {
        **{f"K{i}": choices for i, choices in enumerate(KERNEL_CHOICES, 1)},
        # Stage 4 always has global attention.
        **{f"S{i}": choices for i, choices in enumerate(SPLIT_CHOICES[:3], 1)},
        **{f"E{i}": choices for i, choices in enumerate(EXPANSION_CHOICES, 1)},
        "H": HEAD_CHOICES,
    }
    legend: ClassVar[Mapping[str, str]] = {
        "K1": "kernel of the convolution that makes tokens of the image (stride 4), in pixels",
        "K2 to K4": "kernel of the convolution before stages 2 to 4 (stride 2), in tokens",
        "S1 to S3": "attention of stages 1 to 3 is within S × S windows; stage 4 attends globally",
        "E1 to E4": "hidden width of the feed-forward layers, times the width of the stage",
        "H": "attention heads of stage 4; stages 1 to 3 have 1/8, 1/4 and 1/2 of them",
        "K,S,E|K,S,E|K,S,E|K,S,E|H": "the text of an architecture, stage by stage; a grown one "
        "has the number of blocks behind each E, and behind H the width of stage 1",
    }
    by_hand: ClassVar[Sequence[str]] = ("8,2,3|4,1,2|4,1,4|4,1,6|32",)  # the published seed

    def __contains__(self, arch: Architecture) -> bool:
        """See :meth:`SearchSpace.__contains__`."""
        try:
            return super().__contains__(arch) and bool(self.encode(arch))
        except ValueError:
            return False

    def values(self, arch: Genotype) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        if arch.parts != PUBLISHED:
            raise ValueError(
                f"{arch} is not in space {self.name!r}, whose parts are the published ones; "
                f"leave out ;{arch.parts} or use space 'asvit-parts'"
            )
        return _topology(arch)

    def features(self, arch: Genotype) -> dict[str, float]:
        """See :meth:`SearchSpace.features`; with parts, depths and width."""
        sizes = size_features(sum(arch.depths), arch.width)
        parts = dimension_features(PART_CHOICES, vars(arch.parts).values())
        topology = super().features(replace(arch, parts=PUBLISHED))  # texts may have other parts
        return topology | parts | sizes | stage_features("blocks", arch.depths)

    def from_values(self, values: Sequence[int]) -> Genotype:
        """See :meth:`SearchSpace.from_values`."""
        k1, k2, k3, k4, s1, s2, s3, e1, e2, e3, e4, heads = values
        return Genotype((k1, k2, k3, k4), (s1, s2, s3, 1), (e1, e2, e3, e4), heads)

    def make_network(self, arch: Genotype, image_size: int, **options: Any) -> AsViT:
        """See :meth:`SearchSpace.make_network`."""
        return AsViT(arch, img_size=image_size, **options)

    def check(self, arch: Genotype | str, image_size: int) -> None:
        """See :meth:`SearchSpace.check`."""
        self.read(arch).token_sides(image_size)


@register_space
class AsVitTinySpace(AsVitSpace):
    """A few hundred architectures that still vary every kind of choice."""

    name = "asvit-tiny"
    description = "384 members of the As-ViT space, for a first try and for tests"
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]] = {
        **{"K1": (4, 6, 8), "K2": (2, 3), "K3": (2,), "K4": (2,)},
        **{"S1": (4, 8), "S2": (2, 4), "S3": (1, 2)},
        **{"E1": (2, 4), "E2": (2,), "E3": (2,), "E4": (2, 4)},
        "H": (16, 32),
    }
    by_hand: ClassVar[Sequence[str]] = ()


@register_space
class AsVitPartsSpace(AsVitSpace):
    """The As-ViT space with the parts of the network as further dimensions.

    Only a stem of patches has a kernel K1.
    """

    name = "asvit-parts"
    description = "As-ViT with stems, heads, local mixing and initial weights"
    #: The published seed with the parts that pay: see docs/evidence_designs.md.
    by_hand = ("8,2,3|4,1,2|4,1,4|4,1,6|32;stem=deep,head=linear,mixing=ffn,init=width",)
    paper = "As-ViT, arXiv:2202.11921; parts of 2106.14881, 2106.13797"
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]] = {
        **AsVitSpace.dimensions,
        **{part: choices for part, choices in PART_CHOICES.items() if part not in _UNVARIED},
    }
    legend: ClassVar[Mapping[str, str]] = {
        **AsVitSpace.legend,
        "stem": "what makes tokens of the image: a kernel of stride 4 (patch), two 3 × 3 "
        "convolutions of stride 2 with a batch norm between (conv), or three at half the sides of "
        "the image and a max pooling (deep)",
        "head": "a hidden layer with tanh and a linear map (mlp), or only the map (linear)",
        "mixing": "3 × 3 depthwise convolutions in feed-forward parts (ffn), or none",
        "init": "spread of initial weights: 0.02, or by width (width)",
    }

    @property
    def size(self) -> int:
        """Number of architectures."""
        stems = {"K1": KERNEL_CHOICES[0], "stem": PART_CHOICES["stem"]}
        pairs = math.prod(map(len, stems.values()))
        distinct = len(stems["K1"]) + len(stems["stem"]) - 1
        return super().size // pairs * distinct

    def active(self, params: Mapping[str, Choice]) -> Iterable[str]:
        """See :meth:`SearchSpace.active`: K1 counts in a stem of patches only."""
        without = "" if params["stem"] == PUBLISHED.stem else "K1"
        return [name for name in self.dimensions if name != without]

    def values(self, arch: Genotype) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        varied = replace(arch.parts, **{part: PART_CHOICES[part][0] for part in _UNVARIED})
        if arch.parts != varied:
            raise ValueError(
                f"{arch} is not in space {self.name!r}, which does not vary "
                f"{', '.join(_UNVARIED)}; leave it out"
            )
        return (*_topology(arch), *(getattr(arch.parts, part) for part in self._parts))

    def from_values(self, values: Sequence[Any]) -> Genotype:
        """See :meth:`SearchSpace.from_values`; a stem without a kernel takes any K1."""
        parts = dict(zip(self._parts, values[len(AsVitSpace.dimensions) :], strict=True))
        topology = super().from_values(values[: len(AsVitSpace.dimensions)])
        return replace(topology, parts=Parts(**parts))

    @property
    def _parts(self) -> Iterable[str]:
        return (name for name in self.dimensions if name in PART_CHOICES)


def _topology(arch: Genotype) -> tuple[Choice, ...]:
    """The choices in the twelve dimensions of the paper."""
    return (*arch.kernels, *arch.splits[:3], *arch.expansions, arch.heads)

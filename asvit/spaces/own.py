"""The spaces of As-ViT, ShiftViT and PSViT."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from asvit.architectures import psvit_path as paths
from asvit.architectures.genotype import (
    EXPANSION_CHOICES,
    HEAD_CHOICES,
    KERNEL_CHOICES,
    PART_CHOICES,
    SPLIT_CHOICES,
    Genotype,
    ShiftArchitecture,
)
from asvit.architectures.psvit_path import PSViT1dPath, PSViT2dPath, PSViTPath
from asvit.models import AsViT, PSViT, ShiftViT
from asvit.spaces import base
from asvit.spaces.base import Architecture, Choice, SearchSpace, register_space

Dimensions = Mapping[str, tuple[Choice, ...]]

_STEM: Final = (
    "what makes tokens of the image: a kernel of stride 4 (patch), two 3 × 3 convolutions of "
    "stride 2 with a batch norm between (conv), or three at half the sides of the image and a max "
    "pooling (deep)"
)


class TextSpace(SearchSpace):
    """Base of spaces of :class:`~asvit.architectures.base.TextArchitecture` with parts."""

    letters: ClassVar[Mapping[str, str]]  #: letter of dimensions -> field of the architecture
    parts: ClassVar[Sequence[str]] = ()  #: parts that are dimensions, the last ones

    def values(self, arch: Architecture) -> Sequence[Choice]:
        """As the base says; parts that are no dimensions are the published ones."""
        for name, (published, *_) in arch.parts().items():
            if name not in self.parts and getattr(arch, name) != published:
                raise ValueError(
                    f"{arch} is not in space {self.name!r}, where {name} is {published}; leave "
                    "it out or use a space with that dimension"
                )
        return [*self._numbers(arch), *(getattr(arch, name) for name in self.parts)]

    def from_values(self, values: Sequence[Any]) -> Architecture:
        fields: dict[str, Any] = dict(zip(self.dimensions, values, strict=True))
        for letter, name in self.letters.items():
            own = [fields.pop(dim) for dim in self.dimensions if dim.rstrip("1234") == letter]
            field = self.architecture.fields[name]
            if field.counts is None:
                fields[name] = own[0]
            else:  # a stage with one choice is no dimension
                missing = range(len(own), field.counts[0])
                fields[name] = [*own, *(field.choices[stage][0] for stage in missing)]
        return self.architecture(**fields)

    def features(self, arch: Architecture) -> dict[str, float]:
        """As the base says; with all parts, the number of blocks and the width."""
        own = {name: c for name, c in self.dimensions.items() if name not in self.parts}
        parts = arch.parts()
        return (
            base.dimension_features(own, self._numbers(arch))
            | base.dimension_features(parts, [getattr(arch, name) for name in parts])
            | base.size_features(sum(arch.depths), arch.width)
        )

    def _numbers(self, arch: Architecture) -> list[Choice]:
        """The values of the dimensions with letters."""
        names = [name for name in self.dimensions if name not in self.parts]
        values = {name: getattr(arch, self.letters[name[0]]) for name in names}
        return [v[int(name[1:]) - 1] if name[1:] else v for name, v in values.items()]


@register_space
class AsVitSpace(TextSpace):
    """Kernel, attention splits and expansion of every stage, and the heads: 12 dimensions."""

    name = "asvit"
    description = "kernels, attention splits, expansions and heads of a four-stage pyramid"
    paper = "As-ViT, arXiv:2202.11921"
    architecture = Genotype
    letters: ClassVar = {"K": "kernels", "S": "splits", "E": "expansions", "H": "heads"}
    dimensions: ClassVar[Dimensions] = {
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
        """Whether all choices are those of the space."""
        try:
            return super().__contains__(arch) and bool(self.encode(arch))
        except ValueError:
            return False

    def features(self, arch: Genotype) -> dict[str, float]:
        """As the base says; with the blocks of each stage."""
        return super().features(arch) | base.stage_features("blocks", arch.depths)

    def make_network(self, arch: Genotype, image_size: int, **options: Any) -> AsViT:
        return AsViT(arch, img_size=image_size, **options)


@register_space
class AsVitTinySpace(AsVitSpace):
    """A few hundred architectures that still vary every kind of choice."""

    name = "asvit-tiny"
    description = "384 members of the As-ViT space, for a first try and for tests"
    dimensions: ClassVar[Dimensions] = {
        **{"K1": (4, 6, 8), "K2": (2, 3), "K3": (2,), "K4": (2,)},
        **{"S1": (4, 8), "S2": (2, 4), "S3": (1, 2)},
        **{"E1": (2, 4), "E2": (2,), "E3": (2,), "E4": (2, 4)},
        "H": (16, 32),
    }
    by_hand: ClassVar[Sequence[str]] = ()


@register_space
class AsVitPartsSpace(AsVitSpace):
    """The As-ViT space with parts of the network as further dimensions."""

    name = "asvit-parts"
    description = "As-ViT with stems, heads, local mixing and initial weights"
    #: The published seed with the parts that pay: see docs/evidence_designs.md.
    by_hand = ("8,2,3|4,1,2|4,1,4|4,1,6|32;stem=deep,head=linear,mixing=ffn,init=width",)
    paper = "As-ViT, arXiv:2202.11921; parts of 2106.14881, 2106.13797"
    parts = ("stem", "head", "mixing", "init")
    dimensions: ClassVar[Dimensions] = {
        **AsVitSpace.dimensions,
        **{part: PART_CHOICES[part] for part in parts},
    }
    legend: ClassVar[Mapping[str, str]] = {
        **AsVitSpace.legend,
        "stem": _STEM,
        "head": "a hidden layer with tanh and a linear map (mlp), or only the map (linear)",
        "mixing": "3 × 3 depthwise convolutions in feed-forward parts (ffn), or none",
        "init": "spread of initial weights: 0.02, or by width (width)",
    }

    @property
    def size(self) -> int:
        """Number of architectures."""
        kernels, stems = len(self.dimensions["K1"]), len(self.dimensions["stem"])
        others = math.prod(map(len, self.dimensions.values())) // (kernels * stems)
        return others * (kernels + stems - 1)

    def active(self, params: Mapping[str, Choice]) -> Iterable[str]:
        """As the base says: K1 counts in a stem of patches only."""
        return [name for name in self.dimensions if name != "K1" or params["stem"] == "patch"]


@register_space
class ShiftViTSpace(TextSpace):
    """Depth split, ratio, shifted fraction and step of a ShiftViT; the choices are ours.

    They are those of the paper's comparisons but step 0, at which nothing mixes positions within a
    stage, and depths around those of its lightest network.
    """

    name = "shiftvit"
    prefix = ShiftArchitecture.prefix
    description = "depth split, feed-forward ratio, shifted fraction and step; no attention"
    paper = "ShiftViT, arXiv:2201.10801"
    architecture = ShiftArchitecture
    letters: ClassVar = {"L": "depths", "R": "ratio", "N": "n_div", "S": "step"}
    dimensions: ClassVar[Dimensions] = {
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
        """Whether the stem is one of the space; depths may be grown."""
        return super().__contains__(arch) and ("stem" in self.parts or arch.stem == "patch")

    def make_network(self, arch: ShiftArchitecture, image_size: int, **options: Any) -> ShiftViT:
        return ShiftViT(**vars(arch), **options)


@register_space
class ShiftViTPartsSpace(ShiftViTSpace):
    """The ShiftViT space with the stem as a further dimension."""

    name = "shiftvit-parts"
    description = "ShiftViT with stems of patches or of convolutions"
    by_hand = ("shift:1,1,2,1|4|12|1|96;stem=deep",)  # fewer blocks learn sooner
    paper = "ShiftViT, arXiv:2201.10801; stems of 2106.14881"
    parts = ("stem",)
    dimensions: ClassVar[Dimensions] = {**ShiftViTSpace.dimensions, "stem": PART_CHOICES["stem"]}
    legend: ClassVar[Mapping[str, str]] = {**ShiftViTSpace.legend, "stem": _STEM}


class PSViTSpace(SearchSpace):
    """Each of 3 × 6 cells is a basic layer, a pair that shares attention, or nothing."""

    architecture: ClassVar[type[PSViTPath]]
    paper = "PSViT, arXiv:2108.03428"
    # A search tries an image size on architectures with the same choice index in every dimension.
    # The orders differ so that none of them consists of identities alone.
    dimensions: ClassVar[Dimensions] = {
        f"S{stage}C{cell}": tuple(choices)
        for stage, choices in enumerate(("sb-", "-bs", "-bs"), 1)
        for cell in range(1, paths.CELLS + 1)
    }
    legend: ClassVar[Mapping[str, str]] = {
        "S1C1 to S3C6": "cell of a stage: b, one layer; s, two layers that share attention maps; "
        "-, nothing"
    }

    def sample(self, rng: np.random.Generator) -> PSViTPath:
        """Draw uniformly among the paths with layers."""
        path: PSViTPath = super().sample(rng)
        return path if path.layers else self.sample(rng)

    def values(self, arch: PSViTPath) -> Iterable[Choice]:
        return "".join(arch.cells)

    def features(self, arch: PSViTPath) -> dict[str, float]:
        """As the base says; the positions of identities make no difference."""
        pairs = [stage.count(paths.SHARED) for stage in arch.stage_cells]
        own = base.stage_features("layers", arch.depths) | base.stage_features("pairs", pairs)
        return base.size_features(arch.layers, arch.width) | own

    def from_values(self, values: Sequence[str]) -> PSViTPath:
        n = paths.CELLS
        first, second, third = ("".join(values[i : i + n]) for i in range(0, 3 * n, n))
        return self.architecture((first, second, third))

    def make_network(self, arch: PSViTPath, image_size: int, **options: Any) -> PSViT:
        shape = arch.stage_cells, arch.stage_widths, arch.heads
        return PSViT(*shape, pooling=arch.pooling, img_size=image_size, **options)


@register_space
class PSViT1dSpace(PSViTSpace):
    """Paths with token pooling along the list of tokens, behind a class token."""

    name, prefix, architecture = "psvit1d", PSViT1dPath.prefix, PSViT1dPath
    description = "basic, attention-sharing or no layers in 3 × 6 cells; tokens in a list"


@register_space
class PSViT2dSpace(PSViTSpace):
    """Paths with token pooling on the grid of tokens."""

    name, prefix, architecture = "psvit2d", PSViT2dPath.prefix, PSViT2dPath
    description = "basic, attention-sharing or no layers in 3 × 6 cells; tokens on a grid"

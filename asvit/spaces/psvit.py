"""The two PSViT spaces: tokens in a list, and tokens on a grid."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from asvit.architectures.psvit_path import (
    BASIC,
    CELLS,
    IDENTITY,
    SHARED,
    STAGES,
    PSViT1dPath,
    PSViT2dPath,
    PSViTPath,
)
from asvit.models.psvit import Pooling, PSViT
from asvit.spaces.base import Choice, SearchSpace, register_space, size_features, stage_features


class PSViTSpace(SearchSpace):
    """Each of 3 × 6 cells is a basic layer, a pair that shares attention, or nothing.

    One of the ``3**18`` paths has no layer. It can be decoded, so that a search that draws it can
    go on, but neither parsed nor built, and :meth:`sample` never returns it.

    References:
        Chen et al. 2021, arXiv:2108.03428.
    """

    pooling: ClassVar[Pooling]
    architecture: ClassVar[type[PSViTPath]]
    paper = "PSViT, arXiv:2108.03428"
    # A search tries an image size on architectures with the same choice index in every dimension.
    # The orders differ so that none of them consists of identities alone.
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]] = {
        f"S{stage}C{cell}": choices
        for stage, choices in enumerate(
            ((SHARED, BASIC, IDENTITY), (IDENTITY, BASIC, SHARED), (IDENTITY, BASIC, SHARED)), 1
        )
        for cell in range(1, CELLS + 1)
    }
    legend: ClassVar[Mapping[str, str]] = {
        f"S1C1 to S{STAGES}C{CELLS}": f"cell of a stage: {BASIC}, one layer; {SHARED}, two layers "
        f"that share attention maps; {IDENTITY}, nothing"
    }

    def sample(self, rng: np.random.Generator) -> PSViTPath:
        """Draw uniformly among the paths with layers."""
        path: PSViTPath = super().sample(rng)
        while path.layers == 0:
            path = super().sample(rng)
        return path

    def values(self, arch: PSViTPath) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        return "".join(arch.cells)

    def features(self, arch: PSViTPath) -> dict[str, float]:
        """See :meth:`SearchSpace.features`; the positions of identities make no difference."""
        pairs = [stage.count(SHARED) for stage in arch.stage_cells]
        sizes = size_features(arch.layers, arch.width)
        return sizes | stage_features("layers", arch.depths) | stage_features("pairs", pairs)

    def from_values(self, values: Sequence[str]) -> PSViTPath:
        """See :meth:`SearchSpace.from_values`; accepts the path without layers."""
        first, second, third = ("".join(values[i * CELLS :][:CELLS]) for i in range(STAGES))
        return self.architecture((first, second, third))

    def parse(self, text: str) -> PSViTPath:
        """See :meth:`SearchSpace.parse`."""
        return _with_layers(self.architecture.parse(text))

    def make_network(self, arch: PSViTPath, image_size: int, **options: Any) -> PSViT:
        """See :meth:`SearchSpace.make_network`."""
        return PSViT(
            arch.stage_cells,
            arch.stage_widths,
            arch.heads,
            pooling=self.pooling,
            img_size=image_size,
            **options,
        )

    def check(self, arch: PSViTPath | str, image_size: int) -> None:
        """See :meth:`SearchSpace.check`; rejects the path without layers."""
        _with_layers(self.read(arch)).token_counts(image_size)


@register_space
class PSViT1dSpace(PSViTSpace):
    """Paths with token pooling along the list of tokens, behind a class token."""

    name = "psvit1d"
    prefix = PSViT1dPath.prefix
    description = "basic, attention-sharing or no layers in 3 × 6 cells; tokens in a list"
    architecture = PSViT1dPath
    pooling = "1d"


@register_space
class PSViT2dSpace(PSViTSpace):
    """Paths with token pooling on the grid of tokens."""

    name = "psvit2d"
    prefix = PSViT2dPath.prefix
    description = "basic, attention-sharing or no layers in 3 × 6 cells; tokens on a grid"
    architecture = PSViT2dPath
    pooling = "2d"


def _with_layers(path: PSViTPath) -> PSViTPath:
    if path.layers == 0:
        raise ValueError(f"{path} has no layers; use 'b' or 's' in at least one cell")
    return path

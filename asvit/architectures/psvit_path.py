"""A path through the PSViT supernet as text and as a frozen dataclass.

``psvit2d:CELLS|CELLS|CELLS[|L1,L2,L3][|W]``: six cells for each of three stages, each ``b`` (a
basic layer), ``s`` (two layers, the second with the attention map of the first) or ``-``
(nothing); then the layers of each stage, if they differ from those of the cells, and the width of
stage 1, if it is not the default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, ClassVar, Final, Literal, cast

from asvit.architectures.base import Field, Growable, TextArchitecture
from proxies.text import shown

STAGES: Final = 3
CELLS: Final = 6  # in each stage
BASIC: Final = "b"
SHARED: Final = "s"
IDENTITY: Final = "-"
#: Cell -> its number of layers.
CELL_LAYERS: Final = {BASIC: 1, SHARED: 2, IDENTITY: 0}

Three = tuple[int, int, int]
Cells = tuple[str, str, str]

_THREE: Final = range(STAGES, STAGES + 1)
_FORM: Final = "{0}CELLS|CELLS|CELLS[|L1,L2,L3][|W], as in {0}bbs---|bs----|bb----"


class _CellsField(Field):
    """The cells of the stages."""

    def checked(self, value: Any) -> tuple[str, ...]:
        if [len(stage) for stage in value] != [CELLS] * STAGES:
            raise ValueError(
                f"cells={shown('|'.join(value))} is not allowed; use three times six letters"
            )
        for stage in value:
            layers_of(stage)
        return tuple(value)


@dataclass(frozen=True)
class PSViTPath(TextArchitecture, Growable):
    """One path through a supernet, at any depths and width: arXiv:2108.03428.

    Widths, heads and how widths grow are ours. The path without layers is valid here, since a
    search may draw it; no image fits it.
    """

    fields: ClassVar[Mapping[str, Field]] = {
        "cells": _CellsField("cells", (*CELL_LAYERS,), _THREE),
        "depths": Field("depth", range(257), _THREE),
        "width": Field("stage 1 width", range(3, 4097)),  # a channel for each head at least
    }
    layout: ClassVar[str] = "cells|cells|cells|depths?|width?"
    #: Attention heads of each stage, at any width.
    heads: ClassVar[Three]
    patch: ClassVar[int]  #: side of a patch in pixels
    pooling: ClassVar[Literal["1d", "2d"]]  #: of a list, or of a grid

    cells: Cells  # the six cells of each stage
    # Layers in each stage, 0 to 256; by default those of the cells. At another depth the cells of
    # the stage repeat until the layers are used up; if one layer is left for a pair, it is a basic
    # one. A stage of identities grows basic layers. The rule is ours.
    depths: tuple[int, ...] = ()
    width: int = 0  # channels of stage 1; by default that of the tiny presets

    def __post_init__(self) -> None:
        self.fields["cells"].checked(self.cells)
        object.__setattr__(self, "depths", tuple(self.depths) or self.default("depths"))
        super().__post_init__()

    def default(self, name: str) -> object:
        """As the base says."""
        return tuple(map(layers_of, self.cells)) if name == "depths" else super().default(name)

    @property
    def layers(self) -> int:
        """Layers of the whole path."""
        return sum(self.depths)

    @property
    def stage_cells(self) -> Cells:
        """The cells of each stage as built: at its depth, without identities."""
        return cast("Cells", tuple(map(unrolled, self.cells, self.depths)))

    @property
    def stage_widths(self) -> Three:
        """Channels of each stage, in proportion to its heads."""
        return cast("Three", tuple(round(self.width * h / self.heads[0]) for h in self.heads))

    def check(self, image_size: int) -> None:
        """Refuse a path without layers, and images that patches do not tile or pooling empties."""
        pooled = max((i for i, depth in enumerate(self.depths) if depth), default=-1)
        if pooled < 0:
            raise ValueError(f"{self} has no layers; use 'b' or 's' in at least one cell")
        side = patches_of(image_size, self.patch)
        if self.pooling == "1d" and not side**2 >> pooled:
            raise ValueError(
                f"an image of {image_size} px has too few tokens to pool {pooled} times; use "
                f"{2 * self.patch} px or more"
            )


@dataclass(frozen=True)
class PSViT1dPath(PSViTPath):
    """A path with token pooling along the list of tokens."""

    prefix: ClassVar[str] = "psvit1d:"
    form: ClassVar[str] = _FORM.format(prefix)
    heads: ClassVar[Three] = (3, 4, 6)
    patch: ClassVar[int] = 16
    pooling: ClassVar[Literal["1d", "2d"]] = "1d"

    width: int = 192


@dataclass(frozen=True)
class PSViT2dPath(PSViTPath):
    """A path with token pooling on the grid of tokens."""

    prefix: ClassVar[str] = "psvit2d:"
    form: ClassVar[str] = _FORM.format(prefix)
    heads: ClassVar[Three] = (3, 6, 12)
    patch: ClassVar[int] = 8
    pooling: ClassVar[Literal["1d", "2d"]] = "2d"

    width: int = 96


def patches_of(side: int, patch: int) -> int:
    """Patches of ``patch`` pixels along an image side in pixels."""
    if side < patch or side % patch:
        below, above = side // patch * patch, (side // patch + 1) * patch
        sizes = f"{below} or {above}" if below > 0 else f"{patch}"
        raise ValueError(
            f"patches of {patch} px do not fill an image side of {side} px; use {sizes} px"
        )
    return side // patch


def layers_of(cells: str) -> int:
    """Number of layers in the cells of a stage."""
    if not set(cells) <= set(CELL_LAYERS):
        raise ValueError(
            f"cells={shown(cells)} is not allowed; use 'b' (basic), 's' (a pair that shares "
            "attention) and '-' (nothing)"
        )
    return sum(CELL_LAYERS[cell] for cell in cells)


def canonical(cells: Sequence[str]) -> tuple[str, ...]:
    """The cells of each stage with identities moved last: equal for paths of equal function."""
    return tuple(stage.replace(IDENTITY, "").ljust(len(stage), IDENTITY) for stage in cells)


def unrolled(cells: str, depth: int) -> str:
    """``cells`` without identities, repeated up to ``depth`` layers."""
    pattern = cells.replace(IDENTITY, "") or BASIC
    layers, left = [], depth
    for cell in cycle(pattern):
        if left == 0:
            break
        layers.append(cell if CELL_LAYERS[cell] <= left else BASIC)
        left -= CELL_LAYERS[layers[-1]]
    return "".join(layers)

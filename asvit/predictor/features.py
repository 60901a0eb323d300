"""Architectures as numbers: their sizes and choices, for predictors of accuracy."""

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvit.spaces.architectures import build_on_meta, choice_features, cost, parse
from asvit.spaces.base import SIZES, Architecture
from proxies.structure import depth, embedding_width, total_expansion

Array = NDArray[np.float64]

#: Prefix of the names of columns for the kind of an architecture.
KIND = "kind="
DEFAULT_IMAGE_SIZE = 224


def features(
    architectures: Iterable[str | Architecture],
    image_size: int | Iterable[int] | None = None,
    *,
    num_classes: int = 1000,
    counts: Mapping[str, ArrayLike] | None = None,
) -> tuple[list[str], Array]:
    """The input of a predictor of accuracy.

    The sizes come first: logarithms to base 2 of parameters, multiply-adds, number of blocks and
    channels of the first block. Then come the choices, as
    :meth:`asvit.spaces.SearchSpace.features` of each space has them, and a 0 or 1 for every kind
    of architecture. Counting takes about 0.05 s for an architecture that was not counted before,
    and next to nothing for an As-ViT.

    Args:
        architectures: Texts or architectures of any spaces and families.
        image_size: Side in pixels of the images that multiply-adds are counted for, one for all or
            one for each architecture; None for 224.
        num_classes: Classes of the networks whose parameters are counted.
        counts: Name of a size -> its values where they are known already, ``[architectures]``
            each; NaN where they are not.

    Returns:
        The names of the columns, and their values ``[architectures, columns]``; NaN where an
        architecture has no such choice, or does not take images of this size.

    Raises:
        ValueError: If an architecture is wrong, or the arguments differ in length.
    """
    parsed = list(map(parse, architectures))
    sides = list(image_size) if isinstance(image_size, Iterable) else [image_size] * len(parsed)
    if len(sides) != len(parsed):
        raise ValueError(f"image_size has {len(sides)} value(s) for {len(parsed)} architecture(s)")
    known = {name: column_of(name, of, len(parsed)) for name, of in (counts or {}).items()}
    rows = []
    for i, (arch, side) in enumerate(zip(parsed, sides, strict=True)):
        kind, choices = choice_features(arch)
        row = {**choices, KIND + kind: 1.0}
        row |= {name: math.log2(column[i]) for name, column in known.items() if column[i] > 0}
        for name in SIZES:
            if name not in row:
                row[name] = _size(name, arch, side or DEFAULT_IMAGE_SIZE, num_classes)
        rows.append(row)
    names = list(dict.fromkeys([*SIZES, *(name for row in rows for name in row)]))
    table = [[row.get(name, missing(name)) for name in names] for row in rows]
    return names, np.array(table, dtype=np.float64).reshape(len(rows), len(names))


def missing(name: str) -> float:
    """The value of a column for an architecture that has no such feature."""
    return 0.0 if name.startswith(KIND) else math.nan


def column_of(name: str, values: ArrayLike, rows: int) -> Array:
    """The values as a column, if there is one for each architecture."""
    column = np.asarray(values, dtype=np.float64)
    if column.shape != (rows,):
        raise ValueError(f"{name} has shape {column.shape} for {rows} architecture(s)")
    return column


def _size(name: str, arch: Architecture, side: int, num_classes: int) -> float:
    """A size as a logarithm; NaN for a network that does not take images of this side."""
    if name not in ("params", "macs"):
        return math.log2(structure(name, arch, side))
    try:
        return math.log2(getattr(cost(arch, side, num_classes), name))
    except ValueError:
        return math.nan


@lru_cache(maxsize=4096)
def structure(name: str, arch: Architecture, side: int) -> float:
    """Depth, width or sum of expansions of a network, counted in it.

    NaN where it has no blocks, or does not take images of this size.
    """
    measures = {"depth": depth, "width": embedding_width, "expansions": total_expansion}
    try:
        return float(measures[name](build_on_meta(arch, image_size=side)))
    except ValueError:
        return math.nan

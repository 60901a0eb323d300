"""Measures candidates at reduced width, each shape once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol

from torch import nn

from proxies import Cost, Score, get_proxy, measure
from proxies.registry import Better
from scaling.shapes import Shape
from scaling.trajectory import Candidate

DEFAULT_MEASURES = ("length_distortion", "ntk_condition_number")

# Key of the weight seeds, shared by all models of a growth: ranks then compare like with like,
# and a shape has the same scores in every step.
SEED_KEY = "growth"

Build = Callable[[tuple[int, ...], int], nn.Module]
# Yields the scores of each shape in order; may yield the first before it measures the last.
MeasureShapes = Callable[[Sequence[Shape]], Iterable[Mapping[str, Score]]]


class ScoreCache(Protocol):
    """Scores of the shapes measured so far: a dictionary, or something persistent."""

    def get(self, shape: Shape, /) -> Mapping[str, Score] | None:
        """Scores of ``shape``, given at its reduced width; None if it was not measured."""

    def __setitem__(self, shape: Shape, scores: Mapping[str, Score], /) -> None:
        """Store the scores of ``shape``."""


@dataclass
class CandidateMeasurer:
    """Measures shapes at reduced width, each once.

    Attributes:
        build: Maps depths and width to a freshly initialised model.
        measures: Names of the measures.
        ratio: Measured width over full width, rounded down.
        known: Scores measured before; new ones are added.
        arguments: Further arguments of :func:`proxies.measure`.
        measure_shapes: Measures shapes of reduced width, instead of ``build`` and ``arguments``.
        better: Direction of each measure.
        fresh: Number of shapes measured rather than found in ``known``.

    Raises:
        KeyError: If a measure is unknown.
        ValueError: If no measure has a direction.
    """

    build: Build
    measures: Sequence[str]
    ratio: float
    _: KW_ONLY
    known: ScoreCache
    arguments: Mapping[str, Any]
    measure_shapes: MeasureShapes | None = None
    better: dict[str, Better] = field(init=False)
    fresh: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.better = directions(self.measures)

    def __call__(self, shapes: Sequence[tuple[Shape, Cost]]) -> Iterator[Candidate]:
        """Yield a candidate with scores for each shape and its cost at full width.

        May yield the first candidates before it measures the last.
        """
        reduced = [measured_shape(shape, self.ratio) for shape, _ in shapes]
        new = [small for small in dict.fromkeys(reduced) if self._cached(small) is None]
        fresh = iter((self.measure_shapes or self._measure_one_by_one)(new))
        for (shape, cost), small in zip(shapes, reduced, strict=True):
            scores = self._cached(small)
            if scores is None:
                scores = next(fresh)
                self.known[small] = scores
                self.fresh += 1
            yield Candidate(shape.depths, shape.width, small.width, cost, scores)

    def _cached(self, small: Shape) -> Mapping[str, Score] | None:
        """Known scores of a shape of reduced width, if they include every measure."""
        scores = self.known.get(small)
        return scores if scores is not None and set(self.measures) <= set(scores) else None

    def _measure_one_by_one(self, shapes: Sequence[Shape]) -> Iterator[Mapping[str, Score]]:
        for shape in shapes:
            build = functools.partial(self.build, *shape)
            yield measure(build, self.measures, key=SEED_KEY, **self.arguments)


def measured_shape(shape: Shape, ratio: float) -> Shape:
    """The shape that is measured for ``shape``: its width times ``ratio``, rounded down."""
    return Shape(shape.depths, max(1, math.floor(round(shape.width * ratio, 9))))


def directions(measures: Sequence[str]) -> dict[str, Better]:
    """Direction of each measure.

    Raises:
        KeyError: If a measure is unknown.
        ValueError: If none of them has a direction.
    """
    better: dict[str, Better] = {name: get_proxy(name).better for name in measures}
    if all(direction == "reported" for direction in better.values()):
        raise ValueError(
            f"nothing to grow by: {', '.join(measures) or 'no measure'} has no direction; "
            f"add a measure that has one, such as {DEFAULT_MEASURES[0]}"
        )
    return better

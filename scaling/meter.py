"""Measures models of depths and a width, at reduced width and each once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from proxies import Cost, Score, get_proxy, measure
from scaling.ranking import Better
from scaling.shapes import Shape
from scaling.trajectory import Candidate

MEASURES = ("length_distortion", "ntk_condition_number")

# All models of a growth draw their initial weights from the same seeds, so that ranks compare
# like with like; a model then has one value per measured shape, whichever step asks for it.
KEY = "growth"

Build = Callable[[tuple[int, ...], int], nn.Module]
# Shapes to their scores, in order; the first are had before the last are measured.
MeasureShapes = Callable[[Sequence[Shape]], Iterable[Mapping[str, Score]]]


class Known(Protocol):
    """Scores of the shapes measured so far: a dictionary, or something that keeps them longer."""

    def get(self, shape: Shape, /) -> Mapping[str, Score] | None:
        """The scores of ``shape`` as it was measured; None while they are unknown."""

    def __setitem__(self, shape: Shape, scores: Mapping[str, Score], /) -> None:
        """Keep the scores of ``shape``."""


class Meter:
    """Measures shapes at reduced width, each once.

    Args:
        build: Depths and width to a freshly initialised model.
        measures: Names of the measures.
        ratio: Width to measure at over full width, rounded down.
        known: Scores that are there already; every new one is added.
        arguments: Further arguments of :func:`proxies.measure`.
        measure_shapes: What measures in place of all that, given shapes of reduced width.

    Attributes:
        better: Measure to its direction.
        fresh: Shapes measured rather than known.

    Raises:
        KeyError: If a measure is unknown.
        ValueError: If no measure has a direction.
    """

    def __init__(
        self,
        build: Build,
        measures: Sequence[str],
        ratio: float,
        *,
        known: Known,
        arguments: Mapping[str, Any],
        measure_shapes: MeasureShapes | None = None,
    ) -> None:
        self._build = build
        self._measures = tuple(measures)
        self._ratio = ratio
        self._known = known
        self._arguments = arguments
        self._measure_shapes = measure_shapes or self._one_by_one
        self.better = directions(measures)
        self.fresh = 0

    def __call__(self, shapes: Sequence[tuple[Shape, Cost]]) -> Iterator[Candidate]:
        """Each shape, with what it costs at full width, as a candidate with its scores.

        The first candidates are had before the last are measured.
        """
        smalls = [measured_shape(shape, self._ratio) for shape, _ in shapes]
        new = [small for small in dict.fromkeys(smalls) if self._scores(small) is None]
        fresh = iter(self._measure_shapes(new))
        for (shape, cost), small in zip(shapes, smalls, strict=True):
            scores = self._scores(small)
            if scores is None:
                scores = next(fresh)
                self._known[small] = scores
                self.fresh += 1
            yield Candidate(shape.depths, shape.width, small.width, cost, scores)

    def _scores(self, small: Shape) -> Mapping[str, Score] | None:
        """What is known of a shape of reduced width, if it is all that is asked for."""
        scores = self._known.get(small)
        return scores if scores is not None and set(self._measures) <= set(scores) else None

    def _one_by_one(self, shapes: Sequence[Shape]) -> Iterator[Mapping[str, Score]]:
        for shape in shapes:
            build = functools.partial(self._build, *shape)
            yield measure(build, self._measures, key=KEY, **self._arguments)


def measured_shape(shape: Shape, ratio: float) -> Shape:
    """The shape at which ``shape`` is measured: its width times ``ratio``, rounded down."""
    return Shape(shape.depths, max(1, math.floor(round(shape.width * ratio, 9))))


def directions(measures: Sequence[str]) -> dict[str, Better]:
    """Measure to its direction.

    Raises:
        KeyError: If a measure is unknown.
        ValueError: If none of them has a direction.
    """
    better: dict[str, Better] = {name: get_proxy(name).better for name in measures}
    if all(way == "reported" for way in better.values()):
        raise ValueError(
            f"nothing to grow by: {', '.join(measures) or 'no measure'} has no better side; "
            f"add one that has, such as {MEASURES[0]}"
        )
    return better

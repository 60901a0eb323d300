"""What the figures of a scaling show, as plain rows; JSON, CSV, HTML and tests see the same."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaling import Row

WIDTH_ALONE = 0  # the "stage" of a candidate that only grew in width


@dataclass(frozen=True)
class StageRow:
    """Blocks in one stage of the model that a step ended in, with the width of the model."""

    step: int
    params: int
    stage: int
    depth: int
    width: int


@dataclass(frozen=True)
class SizeRow:
    """Size of the model that a step ended in; the budget is 0 where it is of the other unit."""

    step: int
    params: int
    macs: int


@dataclass(frozen=True)
class ScoreRow:
    """One measure of one candidate of a step; NaN where it failed."""

    step: int
    measure: str
    value: float
    chosen: bool


@dataclass(frozen=True)
class CloudRow:
    """A candidate in the plane of two measures.

    Attributes:
        step: Its step.
        architecture: Its text.
        stage: Stage that has more blocks than before, counted from 1; 0 for none.
        width: Channels of the first stage.
        x: First measure.
        y: Second measure.
        chosen: Whether its step ended in it.
    """

    step: int
    architecture: str
    stage: int
    width: int
    x: float
    y: float
    chosen: bool


def stage_rows(series: Iterable[Row]) -> list[StageRow]:
    """Depths and widths over the series."""
    return [
        StageRow(row.step, row.params, stage, depth, row.width)
        for row in series
        for stage, depth in enumerate(row.depths, 1)
    ]


def size_rows(series: Iterable[Row]) -> list[SizeRow]:
    """Parameters and multiply-adds over the series."""
    return [SizeRow(row.step, row.params, row.macs) for row in series]


def score_rows(candidates: Sequence[Row]) -> list[ScoreRow]:
    """Every measure of every candidate, measure by measure."""
    measures = list(candidates[0].values) if candidates else []
    return [
        ScoreRow(row.step, name, row.values[name], row.chosen)
        for name in measures
        for row in candidates
    ]


def cloud_rows(
    series: Sequence[Row], candidates: Iterable[Row], better: Mapping[str, str]
) -> list[CloudRow]:
    """The candidates of every step in the plane of the first two measures that rank them.

    Args:
        series: The models of the series.
        candidates: All candidates, the start among them; those that failed are left out.
        better: Measure to its direction.

    Returns:
        Nothing where fewer than two measures rank.
    """
    names = [name for name, way in better.items() if way != "reported"][:2]
    if len(names) < 2:
        return []
    before = {after.step: row.depths for row, after in itertools.pairwise(series)}
    return [
        CloudRow(row.step, row.architecture, _deepened(before[row.step], row.depths), row.width,
                 x, y, row.chosen)
        for row in candidates
        if row.step in before
        for x, y in [[row.values[name] for name in names]]
        if math.isfinite(x) and math.isfinite(y)
    ]  # fmt: skip


def _deepened(before: Sequence[int], after: Sequence[int]) -> int:
    """The stage with more blocks than before, counted from 1."""
    more = (stage for stage, (a, b) in enumerate(zip(before, after, strict=True), 1) if b > a)
    return next(more, WIDTH_ALONE)

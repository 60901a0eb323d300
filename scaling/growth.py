"""Greedy growth: step by step the best-ranked of up to sixteen slightly larger models."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proxies import Cost
from scaling.budget import NAMES, Budget
from scaling.meter import MEASURES, Build, Known, MeasureShapes, Meter
from scaling.ranking import Better, best_places, rank_sums
from scaling.shapes import Shape, landings, proposals
from scaling.trajectory import Candidate, Kind, Step, Trajectory

MOST_TIMES = 1000  # a budget beyond that many times the start is a slip, or weeks of work

CostOf = Callable[[tuple[int, ...], int], Cost]


@dataclass(frozen=True)
class GrowthEvent:
    """What is told after each measured candidate, and again after each finished step.

    Attributes:
        step: Number of the step.
        measured: Candidates of it measured so far.
        candidates: Its candidates.
        chosen: The step, once it is finished; None before.
        done: Share of the way from the start to the budget, on a logarithmic scale.
        seconds: Wall-clock time of this growth so far.
        fresh: Shapes that this growth measured itself rather than knew from before.
    """

    step: int
    measured: int
    candidates: int
    chosen: Step | None
    done: float
    seconds: float
    fresh: int


def grow(
    build: Build,
    cost: CostOf,
    *,
    depths: Sequence[int],
    width: int,
    budget: Budget | str,
    stop_within: float = 0.02,
    ratio: float = 0.25,
    width_multiple: int = 1,
    measures: Sequence[str] = MEASURES,
    known: Known | None = None,
    measure_shapes: MeasureShapes | None = None,
    progress: Callable[[GrowthEvent], None] | None = None,
    **measuring: Any,
) -> Trajectory:
    """Grow a model to a budget without training, one block and a little width at a time.

    Every step measures one more block in each stage times each of four widths, leaves out what
    exceeds the budget, and keeps the candidate with the smallest sum of dense ranks; a measure
    that failed ranks worst. Candidates equal in every measure go by the fewest parameters. Where
    no candidate fits any more and the budget is not near, finer ones are tried (ours, not the
    paper's; see :func:`scaling.shapes.landings`).

    Args:
        build: Depths and width to a freshly initialised model; a ``ValueError`` of its ends
            nothing but the measurement.
        cost: Depths and width to parameters and multiply-adds; a ``ValueError`` says that there
            is no such model.
        depths: Blocks in each stage at the start.
        width: Channels of the first stage at the start.
        budget: Where to end, such as ``"88M"``; nothing in the series exceeds it.
        stop_within: How close the end must come to it, as a share of it.
        ratio: Width to measure at over full width, rounded down; costs are those of full width.
        width_multiple: Widths are rounded to multiples of this, but for a last finer step.
        measures: Names of the measures; see ``proxies.PROXIES``.
        known: Scores that are there already; every new one is added. A persistent one makes
            growth resumable.
        measure_shapes: What measures candidates, given all those of a step with their widths
            reduced, for instance side by side; ``build`` and the last arguments are not used then.
        progress: Called after each candidate and each step.
        **measuring: Further arguments of :func:`proxies.measure`: ``repeats``, ``seed``,
            ``images``, ``device``, ...

    Returns:
        The series, which starts with the model given.

    Raises:
        ValueError: If the budget is below the start or more than a thousand times it, a setting is
            out of its range, the start cannot be built, or all candidates of a step failed.
        KeyError: If a measure is unknown.

    References:
        Chen et al. 2022, "Auto-scaling Vision Transformers without Training", arXiv:2202.11921.
    """
    if width_multiple < 1:
        raise ValueError(f"width_multiple must be at least 1, got {width_multiple}")
    meter = Meter(
        build,
        measures,
        _share("ratio", ratio),
        known={} if known is None else known,
        arguments=measuring,
        measure_shapes=measure_shapes,
    )
    growth = _Growth(
        cost,
        Budget.parse(budget) if isinstance(budget, str) else budget,
        meter,
        stop_within=_share("stop_within", stop_within),
        width_multiple=width_multiple,
        progress=progress or (lambda _event: None),
    )
    return growth.run(Shape(tuple(depths), width))


class _Growth:
    """A growth in progress."""

    def __init__(
        self,
        cost: CostOf,
        budget: Budget,
        meter: Meter,
        *,
        stop_within: float,
        width_multiple: int,
        progress: Callable[[GrowthEvent], None],
    ) -> None:
        self._cost = functools.cache(cost)
        self._budget = budget
        self._meter = meter
        self._stop_within = stop_within
        self._width_multiple = width_multiple
        self._progress = progress
        self._steps: list[Step] = []
        self._started = time.monotonic()

    def run(self, start: Shape) -> Trajectory:
        """Step from ``start`` until the budget is near or nothing fits."""
        cost = self._cost(*start)
        check_budget(self._budget, cost, self._stop_within)
        (first,) = self._meter([(start, cost)])
        self._finish(Step(0, "start", first), candidates=1)
        reason = ""
        while not self._near(self._last.cost):
            kind, shapes = self._next()
            if not shapes:
                reason = self._why_not()
                break
            candidates = []
            for candidate in self._meter([(shape, self._cost(*shape)) for shape in shapes]):
                candidates.append(candidate)
                self._tell(len(self._steps), len(candidates), len(shapes))
            ranked, chosen = choose(candidates, self._meter.better)
            self._finish(Step(len(self._steps), kind, chosen, ranked), candidates=len(ranked))
        return Trajectory(self._budget, self._stop_within, tuple(self._steps), reason)

    @property
    def _last(self) -> Candidate:
        return self._steps[-1].chosen

    def _next(self) -> tuple[Kind, list[Shape]]:
        """The shapes of the next step; none where nothing larger fits the budget."""
        current = Shape(self._last.depths, self._last.width)
        asked = proposals(current, multiple=self._width_multiple)
        shapes = [shape for shape in asked if self._larger(self._affordable(shape))]
        if shapes:
            return "grow", shapes

        def fits(shape: Shape) -> bool:
            return self._affordable(shape) is not None

        def lands(shape: Shape) -> bool:
            cost = self._cost(*shape)
            return self._larger(cost) and self._near(cost)

        return "land", landings(current, fits, lands)

    def _affordable(self, shape: Shape) -> Cost | None:
        """What ``shape`` costs; None where it cannot be built or exceeds the budget."""
        try:
            cost = self._cost(*shape)
        except ValueError:
            return None
        return cost if self._budget.of(cost) <= self._budget.amount else None

    def _larger(self, cost: Cost | None) -> bool:
        """Whether a model of this cost has more parameters, and more of what is budgeted."""
        if cost is None:
            return False
        now = self._last.cost
        return cost.params > now.params and self._budget.of(cost) > self._budget.of(now)

    def _near(self, cost: Cost) -> bool:
        return abs(self._budget.gap(cost)) <= self._stop_within

    def _finish(self, step: Step, *, candidates: int) -> None:
        self._steps.append(step)
        self._tell(step.number, candidates, candidates, chosen=step)

    def _tell(
        self, step: int, measured: int, candidates: int, *, chosen: Step | None = None
    ) -> None:
        first, last = (self._budget.of(self._steps[place].chosen.cost) for place in (0, -1))
        way = math.log(self._budget.amount / first)
        self._progress(
            GrowthEvent(
                step=step,
                measured=measured,
                candidates=candidates,
                chosen=chosen,
                done=min(1.0, math.log(last / first) / way) if way > 0 else 1.0,
                seconds=time.monotonic() - self._started,
                fresh=self._meter.fresh,
            )
        )

    def _why_not(self) -> str:
        last, near = self._last.cost, f"{self._stop_within * 100:.3g}%"
        return (
            f"nothing larger is within {near} of {self._budget} and can be built: the last model "
            f"has {self._budget.of(last):,} {NAMES[self._budget.unit]}, "
            f"{self._budget.gap(last):.1%} below"
        )


def choose(
    candidates: Sequence[Candidate], better: Mapping[str, Better]
) -> tuple[tuple[Candidate, ...], Candidate]:
    """The candidates with their rank sums, and the best of them.

    Candidates that are equal in every measure go by the fewest parameters, then multiply-adds.

    Raises:
        ValueError: If every measure with a direction failed for every candidate.
    """
    columns = {name: [c.scores[name].value for c in candidates] for name in better}
    ranked_by = [name for name, way in better.items() if way != "reported"]
    if all(math.isnan(value) for name in ranked_by for value in columns[name]):
        one = candidates[-1]
        why = "; ".join(f"{name}: {one.scores[name].reason}" for name in ranked_by)
        raise ValueError(
            f"nothing to choose by: every measure of all {len(candidates)} candidates failed; "
            f"of depths {','.join(map(str, one.depths))} at width {one.measured_width} {why}"
        )
    sums = rank_sums(columns, better)
    ranked = tuple(replace(c, rank_sum=total) for c, total in zip(candidates, sums, strict=True))
    equals = [ranked[place] for place in best_places(columns, better)]
    return ranked, min(equals, key=lambda c: (c.cost.params, c.cost.macs))


def check_budget(budget: Budget, start: Cost, stop_within: float) -> None:
    """Check that growth from ``start`` can end at ``budget``.

    Raises:
        ValueError: If the budget is below the start, or absurdly far above it.
    """
    has = budget.of(start)
    told = f"{has:,} {NAMES[budget.unit]}"
    if budget.gap(start) < -stop_within:
        raise ValueError(
            f"budget {budget} is below the start, which has {told}; give a larger one"
        )
    if budget.amount > MOST_TIMES * has:
        most = Budget(budget.unit, MOST_TIMES * has)
        raise ValueError(
            f"budget {budget} is more than {MOST_TIMES:,} times the start, which has {told}; "
            f"give at most {most}"
        )


def _share(name: str, value: float) -> float:
    """``value`` if it is above 0 and at most 1.

    Raises:
        ValueError: If it is not.
    """
    if not 0 < value <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1, got {value}")
    return float(value)

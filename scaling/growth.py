"""Greedy growth: each step takes the best-ranked of up to sixteen slightly larger models.

Candidates are measured at reduced width, each shape once.
"""

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import index
from typing import Any, Protocol

from torch import Tensor, nn

from proxies import Cost, Score, get_proxy, measure
from proxies.counts import TimedCost
from proxies.expansion import Radius
from scaling.budget import UNIT_NAMES, Budget
from scaling.ranking import Directions, best_places, rank_sums
from scaling.shapes import Shape, final_step_candidates, proposals
from scaling.trajectory import Candidate, Kind, Step, Trajectory

DEFAULT_MEASURES = ("length_distortion", "ntk_condition_number")

# Key of the weight seeds. All models of a growth share it, so that a shape has the same scores in
# every step.
SEED_KEY = "growth"
MAX_BUDGET_RATIO = 1000  # budget over the start's size; more is a typo, or takes weeks

Build = Callable[[tuple[int, ...], int], nn.Module]  # of depths and a width
#: Maps depths and a width to the cost of their model; a ValueError if there is none.
CostOf = Callable[[tuple[int, ...], int], Cost]
# Yields the scores of each shape in order; may yield the first before it measures the last.
MeasureShapes = Callable[[Sequence[Shape]], Iterable[Mapping[str, Score]]]


class ScoreCache(Protocol):
    """Scores of shapes at their reduced width: a dictionary, or something persistent."""

    def get(self, shape: Shape, /) -> Mapping[str, Score] | None: ...  # noqa: D102

    def __setitem__(self, shape: Shape, scores: Mapping[str, Score], /) -> None: ...


@dataclass(frozen=True)
class GrowthEvent:
    """Progress of a growth: sent after each measured candidate and after each finished step."""

    step: int  #: number of the step
    measured: int  #: candidates of the step measured so far
    candidates: int  #: number of candidates of the step
    chosen: Step | None  #: the step once it is finished; None before
    done: float  #: progress from the start to the budget, 0 to 1 on a logarithmic scale
    seconds: float  #: wall-clock time of this growth so far
    fresh: int  #: shapes measured in this growth; other scores were stored before


def grow(
    build: Build,
    cost: CostOf,
    *,
    depths: Sequence[int],
    width: int,
    budget: Budget | str | float,
    stop_within: float = 0.02,
    ratio: float = 0.25,
    width_multiple: int | None = None,
    width_step: int = 1,
    measures: str | Iterable[str] = DEFAULT_MEASURES,
    known: ScoreCache | None = None,
    measure_shapes: MeasureShapes | None = None,
    progress: Callable[[GrowthEvent], None] | None = None,
    repeats: int = 5,
    seed: int = 0,
    image_size: int | None = None,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    device: str = "auto",
    points: int = 10,
    radius: Radius = "sqrt_n",
) -> Trajectory:
    """Grow a model to a budget without training, one block and a little width at a time.

    The candidates of a step have one more block in one stage and one of four larger widths; those
    over the budget are left out. The step chooses the smallest sum of dense ranks; a failed
    measure ranks worst, and candidates equal in every measure are ordered by parameters. When no
    candidate fits and the budget is not yet close, a final step tries finer ones (not in the
    paper).

    Args:
        build: Maps depths and width to a freshly initialised model; a ``ValueError`` fails one
            measurement.
        cost: Maps the same to a :class:`proxies.Cost`, its parameters and multiply-adds; raises a
            ``ValueError`` if there is no such model.
        depths: Blocks in each stage at the start.
        width: Channels of the first stage at the start.
        budget: Target size, such as ``"88M"``, which no model of the series exceeds.
        stop_within: Tolerance of the final size, as a fraction of the budget.
        ratio: Measured width over full width, rounded down; costs are those of the full width.
        width_multiple: Proposed widths are multiples of this; by default of the least one with
            which no two are measured as the same: 4 at a ratio of 1/4.
        width_step: All widths, also where measured, are multiples of this.
        measures: Names of the measures, or one of them; see ``proxies.PROXIES``.
        known: Scores measured before; new ones are added. With a persistent one a growth can be
            resumed.
        measure_shapes: Measures all candidates of a step, given at reduced width, for instance in
            parallel: a score of every measure for each shape, in order. Replaces ``build`` and
            the arguments of measuring.
        progress: Called after each candidate and each step.
        repeats: As of :func:`proxies.measure`, and so are those below.
        seed: Of the weights and the circle.
        image_size: Pixels per side; not needed with ``images``.
        images: Batch of the kernel.
        labels: Their classes, for measures that need them.
        device: Where to measure.
        points: Points on the circle.
        radius: Of the circle.

    Returns:
        The series, which begins with the start.

    Raises:
        ValueError: If the budget is below the start or more than a thousand times it, a setting is
            out of range, the start cannot be built, or all of several candidates failed.

    References:
        Chen et al. 2022, "Auto-scaling Vision Transformers without Training", arXiv:2202.11921.

    Example:
        >>> def build(depths, width):
        ...     layers = [torch.nn.Conv2d(width, width, 1) for _ in range(sum(depths))]
        ...     return torch.nn.Sequential(torch.nn.Conv2d(3, width, 4, 4), *layers)
        >>> def cost(depths, width):
        ...     return proxies.count(build(depths, width), image_size=8)
        >>> trajectory = scaling.grow(
        ...     build, cost, depths=[1, 1], width=8, budget="1.2K", stop_within=0.2,
        ...     image_size=8, repeats=1,
        ... )
        >>> trajectory.steps[0].chosen.depths
        (1, 1)
    """
    for name, value in (("ratio", ratio), ("stop_within", stop_within)):
        if not 0 < value <= 1:
            raise ValueError(f"{name} must be above 0 and at most 1, got {value}")
    if width_multiple is None:
        width_multiple = math.ceil(round(1 / ratio, 9)) * max(1, width_step)
    for name, number in (("width_multiple", width_multiple), ("width_step", width_step)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    names = (measures,) if isinstance(measures, str) else tuple(measures)
    measuring: Any = {
        **{"repeats": repeats, "seed": seed, "image_size": image_size, "images": images},
        **{"labels": labels, "device": device, "points": points, "radius": radius},
    }

    def in_turn(shapes: Sequence[Shape]) -> Iterator[Mapping[str, Score]]:
        for shape in shapes:
            yield measure(functools.partial(build, *shape), names, key=SEED_KEY, **measuring)

    # Of NumPy's integers, costs would overflow and rows would not be JSON.
    start = Shape(tuple(map(index, depths)), index(width))
    if start.width < 1 or start.width % width_step:
        raise ValueError(f"width must be a positive multiple of {width_step}, got {width}")
    if not start.depths or min(start.depths) < 0:
        raise ValueError(f"depths must be 0 or more blocks of one or more stages, got {depths}")
    growth = _Growth(
        cost=functools.cache(cost),
        budget=Budget.parse(budget),
        better=directions(names),
        known={} if known is None else known,
        measure_shapes=measure_shapes or in_turn,
        stop_within=float(stop_within),
        ratio=ratio,
        width_multiple=math.lcm(width_multiple, width_step),
        width_step=width_step,
        progress=progress or (lambda _event: None),
    )
    return growth.run(start)


def directions(measures: Sequence[str]) -> Directions:
    """Direction of each measure; a ValueError if one is unknown, or none has a direction."""
    better: Directions = {name: get_proxy(name).better for name in measures}
    if all(direction == "reported" for direction in better.values()):
        raise ValueError(
            f"nothing to grow by: {', '.join(measures) or 'no measure'} has no direction; "
            f"add a measure that has one, such as {DEFAULT_MEASURES[0]}"
        )
    return better


def measured_shape(shape: Shape, ratio: float, width_step: int = 1) -> Shape:
    """The shape that is measured for ``shape``: its width times ``ratio``, rounded down."""
    return shape.wider(math.floor(round(shape.width * ratio, 9)), width_step)


@dataclass
class _Growth:
    """A growth in progress; the fields are as the arguments of :func:`grow`."""

    cost: CostOf
    budget: Budget
    better: Directions
    known: ScoreCache
    measure_shapes: MeasureShapes
    stop_within: float
    ratio: float
    width_multiple: int
    width_step: int
    progress: Callable[[GrowthEvent], None]
    steps: list[Step] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    fresh: int = 0

    def run(self, start: Shape) -> Trajectory:
        """The whole series, from the start."""
        check_budget(self.budget, self.cost(*start), self.stop_within)
        (first,) = self._measured([start])
        self._finish(Step(0, "start", first), candidates=1)
        while not self._close_enough(self._last.cost):
            kind, shapes = self._next_step()
            if not shapes:
                break
            candidates: list[Candidate] = []
            for candidate in self._measured(shapes):
                candidates.append(candidate)
                self._report(len(self.steps), len(candidates), len(shapes))
            ranked, chosen = choose(candidates, self.better)
            self._finish(Step(len(self.steps), kind, chosen, ranked), candidates=len(ranked))
        reason = "" if self._close_enough(self._last.cost) else self._shortfall()
        return Trajectory(self.budget, self.stop_within, tuple(self.steps), reason)

    def _next_step(self) -> tuple[Kind, Sequence[Shape]]:
        """The candidates of a step by the paper's rule, else of a finer one; none if none fits."""
        current = self._last.shape
        proposed = filter(self._fits, proposals(current, multiple=self.width_multiple))
        if larger := list(filter(self._is_larger, proposed)):
            return "grow", larger

        def ends_growth(shape: Shape) -> bool:
            return self._is_larger(shape) and self._close_enough(self.cost(*shape))

        return "land", final_step_candidates(current, self._fits, ends_growth, self.width_step)

    def _fits(self, shape: Shape) -> bool:
        """Whether a shape can be built within the budget."""
        try:
            return self.budget.of(self.cost(*shape)) <= self.budget.amount
        except ValueError:
            return False

    def _measured(self, shapes: Sequence[Shape]) -> Iterator[Candidate]:
        """A candidate for each shape, as scores arrive; each reduced shape is measured once."""
        reduced = [measured_shape(shape, self.ratio, self.width_step) for shape in shapes]
        new = [small for small in dict.fromkeys(reduced) if self._scores(small) is None]
        arriving = iter(self.measure_shapes(new))
        for shape, small in zip(shapes, reduced, strict=True):
            scores = self._scores(small)
            if scores is None:
                scores = next(arriving)
                self.known[small] = {**(self.known.get(small) or {}), **scores}
                self.fresh += 1
            cost = self.cost(*shape)
            if isinstance(cost, TimedCost):
                latency = Score(cost.latency, 0.0, (cost.latency,), "reported")
                scores = {**scores, "latency": latency}
            yield Candidate(shape.depths, shape.width, small.width, cost, scores)

    def _scores(self, small: Shape) -> Mapping[str, Score] | None:
        """Known scores of a shape of reduced width, if they include every measure."""
        scores = self.known.get(small)
        if scores is None or not set(self.better) <= set(scores):
            return None
        return {name: scores[name] for name in self.better}

    @property
    def _last(self) -> Candidate:
        return self.steps[-1].chosen

    def _is_larger(self, shape: Shape) -> bool:
        """Whether a model has more parameters and more of the budgeted unit than the last."""
        cost, now = self.cost(*shape), self._last.cost
        return cost.params > now.params and self.budget.of(cost) > self.budget.of(now)

    def _close_enough(self, cost: Cost) -> bool:
        return abs(self.budget.gap(cost)) <= self.stop_within

    def _finish(self, step: Step, *, candidates: int) -> None:
        self.steps.append(step)
        self._report(step.number, candidates, candidates, chosen=step)

    def _report(
        self, step: int, measured: int, candidates: int, *, chosen: Step | None = None
    ) -> None:
        first, last = (self.budget.of(self.steps[place].chosen.cost) for place in (0, -1))
        distance = math.log(self.budget.amount / first)
        done = min(1.0, math.log(last / first) / distance) if distance > 0 else 1.0
        seconds = time.monotonic() - self.started
        self.progress(GrowthEvent(step, measured, candidates, chosen, done, seconds, self.fresh))

    def _shortfall(self) -> str:
        last = self._last.cost
        tolerance, gap = (f"{x * 100:.3g}%" for x in (self.stop_within, self.budget.gap(last)))
        return (
            f"no larger model is within {tolerance} of {self.budget} and can be built: the "
            f"last has {self.budget.of(last):,} {UNIT_NAMES[self.budget.unit]}, {gap} below"
        )


def choose(
    candidates: Sequence[Candidate], better: Directions
) -> tuple[tuple[Candidate, ...], Candidate]:
    """All candidates with their rank sums, and the best one, of equal ones the smallest.

    A ValueError if there are several, and every measure with a direction failed for all.
    """
    columns = {name: [c.scores[name].value for c in candidates] for name in better}
    ranked_by = [name for name, direction in better.items() if direction != "reported"]
    failed = all(math.isnan(value) for name in ranked_by for value in columns[name])
    if failed and len(candidates) > 1:
        last = candidates[-1]
        why = "; ".join(f"{name}: {last.scores[name].reason}" for name in ranked_by)
        raise ValueError(
            f"nothing to choose by: every measure of all {len(candidates)} candidates failed; "
            f"for depths {','.join(map(str, last.depths))} at width {last.measured_width} {why}"
        )
    sums = rank_sums(columns, better)
    ranked = tuple(replace(c, rank_sum=total) for c, total in zip(candidates, sums, strict=True))
    ties = [ranked[place] for place in best_places(columns, better)]
    return ranked, min(ties, key=lambda c: (c.cost.params, c.cost.macs))


def check_budget(budget: Budget, start: Cost, stop_within: float, *, name: str = "") -> None:
    """A ValueError, with its ``name``, for a budget below the start or a thousand times above."""
    name = name or str(budget)
    if budget.unit == "latency" and not isinstance(start, TimedCost):
        raise ValueError(f"budget {name} is a time; let cost return a proxies.counts.TimedCost")
    has = budget.of(start)
    size = f"{has:,} {UNIT_NAMES[budget.unit]}"
    if budget.gap(start) < -stop_within:
        raise ValueError(f"budget {name} is below the start, which has {size}; give a larger one")
    if budget.amount > MAX_BUDGET_RATIO * has:
        most = Budget(budget.unit, MAX_BUDGET_RATIO * has)
        raise ValueError(
            f"budget {name} is more than {MAX_BUDGET_RATIO:,} times the start, which has "
            f"{size}; give at most {most}"
        )

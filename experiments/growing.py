"""Shared by the experiments on growth: an architecture to grow, measured as growth measures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import asvit
from asvit.core.versions import versions
from asvit.executors import Workers
from asvit.growth.journal import GrowthJournal
from asvit.growth.seed import GrowthSeed
from asvit.growth.settings import ScaleSettings
from asvit.runs.measurement_pool import EvalContext
from proxies import Cost, Score
from scaling import Budget, Candidate, GrowthEvent, Shape, Trajectory, grow
from scaling.growth import DEFAULT_MEASURES

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"  # the published result of the search


@dataclass(frozen=True)
class GrowthSetup:
    """An architecture to grow, and its measurements so far.

    Attributes:
        settings: How to measure models.
        model: The architecture.
        context: Device and images.
        known: Journal of all measurements, so that a stopped experiment can continue.
    """

    settings: ScaleSettings
    model: GrowthSeed
    context: EvalContext
    known: GrowthJournal

    def cost(self, shape: Shape) -> Cost:
        """Parameters and multiply-adds of a shape."""
        return self.model.cost(*shape)

    def measure(self, shape: Shape) -> Candidate:
        """A shape with its scores, measured as the candidates of a growth are."""
        own_size = Budget("params", self.cost(shape).params)
        return self._grow(shape, own_size).steps[0].chosen

    def grow(self, budget: Budget) -> Trajectory:
        """Grow to ``budget``; known measurements are reused."""
        return self._grow(self.model.start, budget, progress=partial(_print_progress, budget))

    def _grow(self, start: Shape, budget: Budget, **more: Any) -> Trajectory:
        return _grow(
            self.model,
            start,
            self.settings,
            budget,
            measures=self.settings.proxies,
            known=self.known,
            **self.context.arguments,
            **more,
        )


def measured(model: Candidate) -> dict[str, Any]:
    """Shape, size and measures of a model, as columns of a table."""
    return {
        "depths": ",".join(map(str, model.depths)),
        "width": model.width,
        "params": model.cost.params,
        "macs": model.cost.macs,
        **{name: model.scores[name].value for name in DEFAULT_MEASURES},
    }


def growth_setup(settings: ScaleSettings, folder: Path) -> GrowthSetup:
    """The setup for ``settings``, with its measurements in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    context = EvalContext(settings)
    known = GrowthJournal(folder / f"measured-seed{settings.seed}.jsonl")
    if known.settings is not None and known.settings != settings:
        raise SystemExit(f"{folder} has measurements of other settings; remove or rename it")
    images = dict(context.provenance)
    known.start(settings, images=images, device=context.device, versions=versions())
    return GrowthSetup(settings, GrowthSeed(settings), context, known)


def at_own_size(side: int, classes: int) -> Mapping[str, Any]:
    """Settings of the growth of small networks, measured and counted at their own size."""
    sizes = {"image_size": side, "count_size": side, "classes": classes}
    return {"preset": "quick", **sizes, "ratio": 1}


def grown(text: str, out: Path, **settings: Any) -> str:
    """What the growth of an architecture ends in, in one process."""
    result = asvit.run_scaling(text, out=out, workers=Workers(jobs=1), **settings)
    return result.series[-1].architecture


def grown_at_random(settings: ScaleSettings, number: int) -> str:
    """Growth whose every step, the final one included, chooses among its candidates at random.

    Args:
        settings: What to grow, and to what budget.
        number: Seed of the choices.
    """
    model, rng = GrowthSeed(settings), np.random.default_rng(number)
    name = DEFAULT_MEASURES[0]

    def scored(shapes: Sequence[Shape]) -> Iterator[Mapping[str, Score]]:
        for value in map(float, rng.random(len(shapes))):
            yield {name: Score(value, 0.0, (value,), "higher")}

    budget = settings.limits[-1]
    trajectory = _grow(
        model, model.start, settings, budget, measures=[name], measure_shapes=scored
    )
    last = trajectory.steps[-1].chosen
    return model.name(last.depths, last.width)


def _grow(
    model: GrowthSeed, start: Shape, settings: ScaleSettings, budget: Budget, **more: Any
) -> Trajectory:
    return grow(
        model.build,
        model.cost,
        depths=start.depths,
        width=start.width,
        budget=budget,
        stop_within=settings.stop_within,
        ratio=settings.ratio,
        width_multiple=settings.width_multiple,
        **more,
    )


def _print_progress(budget: Budget, event: GrowthEvent) -> None:
    if event.chosen is not None:
        print(f"  {budget}: step {event.step}, {event.done:.0%} of the way", flush=True)

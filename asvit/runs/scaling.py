"""Scalings: an architecture grown to a budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asvit.core.console import clock, number, short
from asvit.core.files import write_text
from asvit.core.progress import Progress, Tell, images_told
from asvit.core.run_files import CANDIDATES, MEASURED, RESULT, SCALING_FIGURES, SERIES
from asvit.core.settings import (
    WrongOption,
    fields_of,
    setting,
    warn_of_changes,
    wrong_option,
)
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.growth import ScaleResult, ScaleSettings
from asvit.runs.folder import RunFiles, newest_run, remove_files
from asvit.runs.lifecycle import check_settings, peeked, stored_result
from asvit.runs.measuring_run import MeasuringRun, rank_table
from asvit.runs.run import imported
from asvit.search.result import SearchResult
from proxies.messages import first_line
from scaling.rules import RULES
from scaling.trajectory import to_csv

if TYPE_CHECKING:
    from asvit.executors import Workers
    from asvit.growth import GrowthJournal
    from asvit.runs.estimate import Remaining
    from asvit.runs.growable import Growable
    from asvit.runs.measurement_pool import EvalContext, MeasurementPool
    from proxies import Score
    from proxies.latency import Latency
    from scaling import GrowthEvent, Shape, Step, Trajectory

_NETWORKS = 150  # that a growth measures, about
_AT_ONCE = 16  # of them in a step
_GIGABYTES = 4.0  # that measuring one of the largest may need at 224 px
_STEP_RATIO = 1.1  # of the time of a step to that of the one before, about


@dataclass(kw_only=True)
class ScaleRun(MeasuringRun[ScaleSettings, ScaleResult, "GrowthJournal"]):
    """Grow an architecture to a budget without training.

    Every step adds one block and some width; the result is the whole series of models. Given
    again, the same command continues a run that was stopped, or shows the result of a finished
    one. A larger budget extends it.
    """

    command = "scale"
    files = RunFiles("scale", "scaling", MEASURED, (SERIES, CANDIDATES), figures=SCALING_FIGURES)
    settings_type = ScaleSettings
    result_type = ScaleResult
    journal_type = imported("asvit.growth:GrowthJournal")
    pictures = imported("asvit.report.scale:pictures")  # imports matplotlib
    details = imported("asvit.report.scale:details")
    written = "report.html, steps.csv, result.json, figures"

    arch: str | None = setting(
        None,
        "As --arch.",
        metavar="[ARCH]",
        complete="architectures",
        argument=True,
        repeats=False,
    )
    seed_run: Path | None = None  # whose result growth starts from
    classes_of_data: bool = False  # sizes are counted with the classes that the images have

    @classmethod
    def make(cls, preset: str = "default", **given: Any) -> Self:
        """As the base does; without an architecture, from the newest finished search."""
        from asvit.runs.architectures import find_architecture
        from asvit.runs.growable import find_growable

        named = {given.pop("arch", None), given.pop("architecture", None)} - {None}
        if len(named) > 1:
            raise WrongOption(f"two architectures, {' and '.join(sorted(named))}; give one")
        text = next(iter(named), None)
        if text is None:
            given["seed_run"] = newest_run("search")
            text = _seed_of(given["seed_run"])
        with wrong_option():
            found = find_growable(find_architecture(str(text)).text)
        given |= {"architecture": str(found[1]), "classes_of_data": "classes" not in given}
        return super().make(preset, **given)

    def resolved(self) -> Self:
        """With the classes of the data, unless a number was given."""
        from asvit.data.training_sets import class_count

        classes = class_count(self.settings.data) if self.classes_of_data else None
        if classes is None:
            return self
        return replace(self, settings=replace(self.settings, classes=classes))

    @property
    def always_typed(self) -> Sequence[str]:
        """The budget, and the classes where they need not be those of the data."""
        return ("budgets",) if self.classes_of_data else ("budgets", "classes")

    def check(self) -> None:
        """Refuse unknown measures, and a start that cannot be grown as asked."""
        from scaling.growth import directions

        super().check()
        _ = self.growable
        directions(self.settings.proxies)

    @cached_property
    def growable(self) -> Growable:
        """The architecture at other depths and widths."""
        from asvit.runs.growable import Growable

        return Growable(self.settings)

    @cached_property
    def context(self) -> EvalContext:
        """Device and images to measure on."""
        from asvit.runs.measurement_pool import EvalContext

        return EvalContext(self.settings, progress=images_told(self.progress))

    def default_name(self) -> str:
        """Named after the architecture, the image size and the seed."""
        chosen = self.settings
        text = chosen.architecture.translate(str.maketrans(",|:", ".--"))
        rule = f"{chosen.by_hand}-" if chosen.by_hand else ""
        return f"scale-{rule}{text}-{chosen.image_size}px-seed{chosen.seed}"

    @property
    def title(self) -> str:
        """What is about to be grown, and on what."""
        chosen = self.settings
        origin = "--arch" if self.seed_run is None else f"the seed of {self.seed_run}"
        grown = f"growing {chosen.architecture} ({origin}) to {chosen.budgets[-1]}"
        if chosen.by_hand:
            grown += f" by the rule {chosen.by_hand!r} ({RULES[chosen.by_hand].description})"
        if chosen.classes != fields_of(ScaleSettings)["classes"].default:
            grown += f" with {chosen.classes:,} classes"
        return f"{grown}: {chosen.in_words()}"

    def free_settings(self, store: GrowthJournal) -> Sequence[str]:
        """The budget, where it is larger than before and of the same unit."""
        if store.settings is None:
            return ()
        before, now = store.settings.limits[-1], self.settings.limits[-1]
        extends = before.unit == now.unit and before.amount <= now.amount
        return ("budgets",) if extends else ()

    def load(self) -> Mapping[str, Any]:
        """Images and device."""
        return {"images": dict(self.context.provenance), "device": self.context.device}

    def check_store(self, store: GrowthJournal) -> None:
        """Of a run that was measured by other code, what follows from the measures is stale."""
        if changed := self.changed_measures(store):
            warn_of_changes(changed, "every network")
            remove_files(self.folder, [RESULT])

    def execute(self, store: GrowthJournal, tell: Tell) -> ScaleResult:
        """Grow to the largest budget."""
        from asvit.runs.measurement_pool import MeasurementPool, Workload

        load = Workload(_NETWORKS, _AT_ONCE, _GIGABYTES)
        contexts = {self.settings.image_size: self.context}
        if self.settings.timed:
            self.growable.time = partial(self._time, store)
        pool = MeasurementPool(contexts, self.workers, load, space=self.growable.space)
        with closing(pool):
            grown = self._grow(store, pool, tell)
        series = grown.rows(self.growable.name)
        seed_run = None if self.seed_run is None else str(self.seed_run)
        return self.result(
            store,
            {"seed_run": seed_run, **self.load()},
            space=self.growable.space.name,
            series=series,
            candidates=grown.rows(self.growable.name, candidates=True),
            reason=grown.reason,
            next_command=self.training_command,
            latency=self._latency_again(series[-1].architecture) if self.settings.timed else None,
        )

    def _time(self, store: GrowthJournal, text: str) -> float:
        """Milliseconds of a forward pass of a network, timed once."""
        if text not in store.latencies:
            store.keep_latency(text, self._latency(text))
        return store.latencies[text].milliseconds

    def _latency(self, text: str) -> Latency:
        from asvit.runs.timing import latency

        return latency(text, *self._pass, num_classes=self.settings.classes)

    def _latency_again(self, text: str) -> Latency:
        from asvit.runs.timing import fresh_latency

        return fresh_latency(text, *self._pass, num_classes=self.settings.classes)

    @property
    def _pass(self) -> tuple[int, int, str, str]:
        s = self.settings
        return s.count_size, s.latency_batch, s.device, s.latency_runtime

    def _grow(self, store: GrowthJournal, pool: MeasurementPool, tell: Tell) -> Trajectory:
        """Grow, and write the tables of the run folder anew after every step."""
        from scaling import grow

        settings, start = self.settings, self.growable.start
        steps: list[Step] = []

        def follow(event: GrowthEvent) -> None:
            if event.chosen is not None:
                steps.append(event.chosen)
                for name, every in ((CANDIDATES, True), (SERIES, False)):
                    shown = [step.rows(self.growable.name, candidates=every) for step in steps]
                    write_text(self.folder / name, to_csv(list(chain.from_iterable(shown))))
            tell(_progress(event, steps[-1:]))

        return grow(
            self.growable.build,
            self.growable.cost,
            depths=start.depths,
            width=start.width,
            expansions=start.expansions,
            budget=settings.targets[-1],
            rule=settings.by_hand,
            budgets=settings.targets[:-1],
            stop_within=settings.stop_within,
            ratio=settings.ratio,
            width_multiple=settings.width_multiple,
            measures=settings.proxies,
            known=store,
            measure_shapes=partial(self._measure_shapes, pool),
            progress=follow,
        )

    def _measure_shapes(
        self, pool: MeasurementPool, shapes: Sequence[Shape]
    ) -> Iterator[Mapping[str, Score]]:
        """The scores of each shape; all failed where there is no such network."""
        from asvit.runs.measurement_pool import MeasurementJob, in_order
        from scaling.growth import SEED_KEY

        names, side = self.settings.proxies, self.settings.image_size
        jobs: list[MeasurementJob] = []
        for shape in shapes:
            try:
                jobs.append(MeasurementJob(self.growable.name(*shape), names, SEED_KEY, side))
            except ValueError as error:
                jobs.append(MeasurementJob("", names, SEED_KEY, side, refused=first_line(error)))
        return (measured.scores for measured in in_order(pool.measure(jobs)))

    def remaining(self) -> Remaining:
        """What is left to do; the network that is timed is the first one."""
        from asvit.runs.estimate import Remaining, with_example
        from asvit.runs.measurement_pool import MeasurementJob
        from scaling.growth import SEED_KEY, measured_shape

        store = peeked(self)
        check_settings(self, store)
        done, s = len(store), self.settings
        if done and stored_result(self, store) is not None:
            return Remaining(done, 0)
        text = self.growable.name(*measured_shape(self.growable.start, s.ratio))
        job = MeasurementJob(text, s.proxies, SEED_KEY, s.image_size)
        return with_example(Remaining(done, None), job, s)

    @classmethod
    def summary(cls, result: ScaleResult) -> Iterator[SummaryPart]:
        """The series, and the model nearest to each budget."""
        measures = result.series[0].values
        columns = ["step", "architecture", "width", "params", "multiply-adds", *measures]
        rows: list[list[Cell]] = [
            [row.step, row.architecture, row.width, row.params, row.macs, *row.values.values()]
            for row in result.series
        ]
        yield Table(columns, rows, "The series")
        if any(row.kind == "land" for row in result.series):
            yield "the last step is finer than the published rule, to end near the budget"
        for budget, row in result.nearest():
            side = "below" if budget.gap(row) >= 0 else "above"
            yield (
                f"nearest to {budget}: step {row.step}, {row.architecture} "
                f"({row.params:,} params, {row.macs:,} multiply-adds, "
                f"{abs(budget.gap(row)):.1%} {side})"
            )
        steps, tried = len(result.series) - 1, len(result.candidates) - 1
        yield f"{steps} steps, {tried} candidates in {clock(result.wall_seconds)}"
        if result.latency is not None:
            yield from result.latency.doubts(result.settings.limits[-1].amount / 1000)
        if not result.reached:
            yield f"not as near as asked: {result.reason}"
        yield from rank_table(result.reliability)


def _seed_of(run: Path) -> str:
    """The architecture that the search in ``run`` ended in."""
    from asvit.spaces.architectures import find

    result = SearchResult.read(run / RESULT)
    try:
        find(result.seed_architecture)
    except ValueError as error:
        raise ValueError(
            f"the seed of {run}, a search of space {result.settings.space!r}, is not an "
            f"architecture that is known here ({error}); name another one with --arch"
        ) from error
    return result.seed_architecture


def _progress(event: GrowthEvent, last: Sequence[Step]) -> Progress:
    """How far a growth is.

    Steps are about evenly spaced on the logarithmic way to the budget, and their times make a
    geometric series.
    """
    steps, done = event.step, event.done
    share = math.nan
    if steps >= 1 and 0 < done < 1 and event.fresh:
        left = steps * (1 - done) / done
        spent, whole = (_STEP_RATIO**count - 1 for count in (steps, steps + left))
        share = spent / whole
    elif done >= 1:
        share = 1.0
    state = f"candidate {event.measured}/{event.candidates}"
    if last:
        state = f"{state}  after {_model(last[-1])}" if event.chosen is None else _model(last[-1])
    return Progress(
        "step", steps, None, seconds=event.seconds, state=state, share=share, record=event.chosen
    )


def _model(step: Step) -> str:
    """The model that a step ended in, in a few words."""
    chosen = step.chosen
    depths = ",".join(map(str, chosen.depths))
    values = (f"{short(name)} {number(score.value)}" for name, score in chosen.scores.items())
    size = f"{chosen.cost.params / 1e6:.2f}M params"
    return f"depths {depths} width {chosen.width} ({size}, {', '.join(values)})"


@with_options(
    *(ScaleSettings, ScaleRun, CallOptions),
    names={"arch": "architecture", "budgets": "budget"},
)
def run_scaling(
    architecture: str | None = None, *, workers: Workers | None = None, **given: Any
) -> ScaleResult:
    """Grow an architecture to a budget; the same call continues a run that was stopped.

    The run folder holds ``measured.jsonl`` (everything measured), ``steps.csv``,
    ``candidates.csv``, ``result.json`` and the report. After a stop at most the network in flight
    is measured again. A larger budget extends a run.

    Args:
        architecture: Text of the architecture to start from; by default what the newest finished
            search in ``runs`` ended in.
        workers: Processes that measure; the result does not depend on them.

    Example:
        >>> result = asvit.run_scaling(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", budget="3M", stop_within=0.1,
        ...     image_size=32, images=2, points=3, repeats=1, out="scaling",
        ... )
        >>> result.series[-1].params <= 3.3e6
        True
    """
    if "budget" in given:
        given["budgets"] = given.pop("budget")
    return ScaleRun.make(architecture=architecture, workers=workers, **given).run()

"""Searches: a space explored for a seed architecture."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from asvit.core.codec import to_json
from asvit.core.console import clock, networks
from asvit.core.files import write_text
from asvit.core.progress import Progress, Tell, images_told
from asvit.core.run_files import (
    JOURNAL,
    PREDICTED,
    RESULT,
    SEARCH_FIGURES,
    TRAINED,
    TRIALS,
)
from asvit.core.secrets import public_url
from asvit.core.settings import (
    ELSEWHERE,
    MeasuringSettings,
    fields_of,
    setting,
)
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.reference import REFERENCES
from asvit.reference.findings import LEAST_TRAININGS
from asvit.runs.folder import RunFiles
from asvit.runs.lifecycle import check_settings
from asvit.runs.measuring_run import MeasuringRun, rank_table
from asvit.runs.run import imported
from asvit.runs.scaling import ScaleRun
from asvit.search.controllers import get_controller
from asvit.search.result import SearchResult
from asvit.search.rows import evaluated, without_sizes, write_trials
from asvit.search.settings import (
    ACCURACY,
    PREDICTOR,
    MeasureSearchSettings,
    SearchSettings,
    TrainingSearchSettings,
)
from proxies.messages import one_line
from scaling import Budget

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.study import Study

    from asvit.executors import Workers
    from asvit.runs.estimate import Remaining
    from asvit.search import Evaluate, Measurement, TrialRow
    from asvit.search.limits import Limits
    from asvit.search.loop import Search
    from asvit.search.study import StudyStore
    from asvit.search.trained import Before
    from asvit.spaces import SearchSpace
    from asvit.spaces.base import Architecture
    from proxies.latency import Latency
    from scaling.ranking import Better

SAVE_EVERY = 10  # steps between two snapshots of the study in trials.csv
_DRAWN = 30  # architectures, the smallest of which are timed before a search
_HOPELESS = 2  # times the latency allowed, from which on a search is not begun
_GROWTH = 10  # the budget of the next command over the seed's parameters


@dataclass(kw_only=True)
class SearchRun(MeasuringRun[SearchSettings, SearchResult, "StudyStore"]):
    """Search for a seed architecture: without training, or by short trainings on your images.

    Given again, the same command continues a run that was stopped, or shows the result of a
    finished one. More steps or trainings than before extend it.
    """

    command = "search"
    headline = "Search a space for a seed architecture."
    files = RunFiles(
        "search", "search", JOURNAL, (TRIALS, TRAINED), figures=(*SEARCH_FIGURES, PREDICTED)
    )
    settings_type = SearchSettings
    result_type = SearchResult
    folder_name = "search-{s.space}-{s.controller}-{s.image_size}px-seed{s.seed}"
    pictures = imported("asvit.report.search:pictures")  # imports matplotlib
    details = imported("asvit.report.search:details")
    written = "report.html, trials.csv, trainings.csv, result.json, figures"
    may_grow = ("steps", "trainings")
    may_change = ("recheck", "pick")
    libraries = (*MeasuringRun.libraries, "optuna")

    storage: str | None = setting(
        None, "Optuna storage to use instead of a journal in the folder.", metavar="URL"
    )
    evaluate: Evaluate | None = None  # in place of the proxies
    _latencies: dict[str, Latency] = dataclasses.field(default_factory=dict, init=False)
    _last: Progress | None = dataclasses.field(default=None, init=False)

    def check(self) -> None:
        """Refuse unknown names and sizes that do not suit; a storage is not opened."""
        super().check()
        if self.evaluate is not None and self.workers is not None:
            raise ValueError("a function given as evaluate is called here; leave workers out")
        get_controller(self.settings.controller)
        _ = self.better, self.space, self.before
        if self.settings.limited:
            import numpy as np

            self.limits.sample(np.random.default_rng(0))  # or nothing is within
        if self.settings.controller == PREDICTOR and self.space.size < 2:
            raise ValueError(
                f"space {self.space.name!r} has one architecture: there is nothing to predict"
            )

    @property
    def judged(self) -> bool:
        """Whether the run measures; a table is where its trainings start from otherwise."""
        return not self.settings.trains

    @cached_property
    def before(self) -> Before:
        """The trainings of a table that a search starts from: text to accuracies."""
        from asvit.search.training_tables import trainings_in

        if self.judged or self.table is None:
            return {}
        return trainings_in(self.table, self.space, self.limits)

    @cached_property
    def limits(self) -> Limits:
        """What networks have to be within, but for their latency."""
        from asvit.search.limits import Limits

        return Limits(self.space, self.settings)

    @cached_property
    def better(self) -> Mapping[str, Better]:
        """Direction of each measure."""
        from asvit.runs.checks import find_directions

        return find_directions(self.settings.proxies)

    @cached_property
    def space(self) -> SearchSpace:
        """What is searched."""
        from asvit.runs.checks import find_space

        return find_space(self.settings.space, image_size=self.settings.image_size)

    @cached_property
    def shared(self) -> RDBStorage | None:
        """The storage that other processes may share; None for a journal in the folder."""
        from asvit.search.study import open_url

        return None if self.storage is None else open_url(self.storage)

    @cached_property
    def elsewhere(self) -> bool:
        """Whether the study is in a storage outside the folder, as of the start of the call."""
        from asvit.search.study import find_study, storing

        with storing():
            return self.shared is not None and find_study(self.shared, self.study_name) is not None

    @property
    def outside(self) -> bool:
        """Whether there is a storage."""
        return self.storage is not None

    def plan_facts(self) -> Mapping[str, Any]:
        """How many architectures there are."""
        return {"space_size": self.space.size}

    @property
    def study_name(self) -> str:
        """Name of a new study: that of the folder, as dashboards show it."""
        return self.folder.resolve().name or "search"

    @cached_property
    def pool(self) -> Any:
        """Measures with the proxies, or trains; both on images."""
        from asvit.runs.measurement_pool import Evaluator
        from asvit.runs.training_pool import TrainingPool

        kind, settings = Evaluator if self.judged else TrainingPool, cast("Any", self.settings)
        told = images_told(self.progress)
        return kind(self.space, settings, workers=self.workers, progress=told)

    @property
    def title(self) -> str:
        """What is about to be searched, and on what."""
        s = self.settings
        return f"searching {s.space} by {s.controller}: {s.size_in_words}, {s.in_words()}"

    def load(self) -> Mapping[str, Any]:
        """Images and device, and the trainings of a table, which are of the same images.

        A function of the caller needs none.
        """
        from asvit.search.trained import BEFORE

        self._check_latency()
        if self.evaluate is not None:
            return {}
        pool = self.pool
        if self.table is not None and not self.judged:
            from asvit.search.training_tables import check_recipe

            check_recipe(self.table, pool.lines)
        context = pool.context
        images = dict(context.provenance)
        return {"images": images, "device": context.device, BEFORE: self.before or None}

    def _check_latency(self) -> None:
        """Refuse a latency that small networks are far from, before there is a folder."""
        import numpy as np

        from asvit.search.limits import check_latency
        from asvit.spaces import cost

        s, limits, most = self.settings, self.limits, self.settings.max_latency
        begun = self.elsewhere or os.path.lexists(self.folder / JOURNAL)
        if most is None or (begun and not self.fresh):
            return

        def fast_enough(network: Architecture) -> None:
            took = self._latency(network).milliseconds
            if took > _HOPELESS * most:
                raise ValueError(
                    f"{network}, one of the smallest networks, takes {took:.3g} ms, far more than "
                    f"the {most:g} ms allowed"
                )

        rng = np.random.default_rng(s.seed)
        drawn = [limits.network(limits.sample(rng)) for _ in range(_DRAWN)]
        check_latency(drawn, lambda one: cost(one, s.image_size, limits.classes).macs, fast_enough)

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Keep Optuna quiet and its errors short, and stop the workers in the end."""
        from asvit.search.study import quiet_optuna, storing

        with quiet_optuna(), storing(), contextlib.ExitStack() as stack:
            stack.callback(self._stop_workers)
            yield

    def _stop_workers(self) -> None:
        if "pool" in self.__dict__:
            self.pool.close()

    def open(self) -> StudyStore:
        """The study, a new one if there is none; ``fresh`` removes one in another storage."""
        import optuna

        from asvit.search.front import objectives
        from asvit.search.journal import open_journal
        from asvit.search.study import StudyStore, create_study, find_study, first_study

        if self.shared is None:
            storage: BaseStorage = open_journal(self.folder / JOURNAL)
            study = first_study(storage)
        else:
            storage = self.shared
            if self.fresh and self.elsewhere:
                optuna.delete_study(study_name=self.study_name, storage=storage)
            study = find_study(storage, self.study_name)
        study = study or create_study(storage, self.study_name, objectives(self.better))
        return self._ours(StudyStore(study, self.shared))

    def _ours(self, store: StudyStore) -> StudyStore:
        if store.settings is None and store.study.trials:
            raise ValueError(f"{self.folder} holds an Optuna study that asvit did not start")
        return store

    @property
    def measures(self) -> Sequence[str]:
        """As the base has them; none where a function of the caller stands in for them."""
        return () if self.evaluate is not None else super().measures

    def check_store(self, store: StudyStore) -> None:
        """Check the code of measures, and the trainings of a table to start from."""
        if store.settings is None:
            return
        from asvit.search.trained import BEFORE

        if changed := self.changed_measures(store):
            raise ValueError(
                f"run folder {self.folder} was measured with other code of "
                f"{one_line(', '.join(changed))}, which every step follows from; {ELSEWHERE}"
            )
        self._check_same_trainings(store.start_values.get(BEFORE) or {})

    def _check_same_trainings(self, stored: Before) -> None:
        from asvit.search.trained import known_before

        if stored != to_json(self.before):
            counts = (sum(map(len, known_before(one).values())) for one in (stored, self.before))
            raise ValueError(
                "run folder {} was started from {} trainings of a table (now {}); {}".format(
                    self.folder, *counts, ELSEWHERE
                )
            )

    def execute(self, store: StudyStore, tell: Tell) -> SearchResult:
        """Search until the steps are done, and measure what the search ends in."""
        from asvit.search.front import pareto_front
        from asvit.search.loop import Search, TrainingSearch
        from asvit.search.study import StudyLease

        again, timed = partial(self._measure, again=True), self.settings.max_latency is not None
        search = (Search if self.judged else TrainingSearch)(
            store.study,
            self.space,
            cast("Any", self.settings),
            self.better,
            evaluate=self._measure,
            evaluate_again=again if self.evaluate is None else None,
            time=self._latency if timed else None,
            time_again=self._latency_again if timed else None,
            lease=StudyLease(store.study, self.shared, self.folder),
        )
        self._follow(search, tell)
        for progress in search.conclude():
            tell(progress)
        rows, seed = search.rows, search.seed
        if TRAINED in self._tables:
            self._save_trainings(rows, store.study)
        return self.result(
            store,
            {name: store.start_values.get(name) for name in ("images", "device")},
            seed_architecture=seed.architecture,
            params=seed.params,
            macs=seed.macs,
            values=seed.values,
            reason=seed.reason,
            steps=len(rows),
            retrainings=search.retrainings,
            failures=sum(row.state == "failed" for row in rows),
            entropy=(rows[0].entropy, rows[-1].entropy),
            wall_seconds=search.seconds,
            front=pareto_front(rows, self.better),
            finalists=search.finalists,
            tradeoff=search.tradeoff,
            confirmed=seed.confirmed,
            predictor=search.check,
            latency=seed.latency,
            next_command=self._next_command(seed.architecture, seed.params),
        )

    def _next_command(self, arch: str, params: int) -> str:
        """Grow the seed, measured as it was found, or train it where it cannot be grown.

        One that was found by training is trained on the same images.
        """
        if not self.judged:
            return self.training_command
        names = (*fields_of(MeasuringSettings), "proxies")
        same = {name: getattr(self.settings, name) for name in names}
        try:
            grown = ScaleRun.make(architecture=arch, budgets=_budget(params), **same)
        except ValueError:
            return self.training_command
        return grown.command_line()

    def _measure(self, architectures: Sequence[Architecture], **how: Any) -> Iterable[Measurement]:
        """Measure or train architectures, in order."""
        if self.evaluate is not None:
            names = self.settings.proxies
            return (evaluated(self.evaluate, str(arch), names) for arch in architectures)
        found: Iterable[Measurement] = self.pool.all(architectures, **how)
        return found

    def _latency(self, network: Architecture) -> Latency:
        """The latency of a network, timed once in a call, which is said."""
        text = str(network)
        if text not in self._latencies:
            self._say_timing(text)
            self._latencies[text] = self._time(network)
        return self._latencies[text]

    def _latency_again(self, network: Architecture) -> Latency:
        """The latency of a finalist's network, timed in a process of its own, which is said."""
        self._say_timing(f"{network} again")
        return self._time(network, again=True)

    def _say_timing(self, what: str) -> None:
        last = self._last or Progress(
            "step" if self.judged else "training", 0, self.settings.trials
        )
        self.progress(replace(last, state=f"timing {what}", record=None))

    def _time(self, arch: Architecture, *, again: bool = False) -> Latency:
        """How long a forward pass of a network takes; ``again`` in a process of its own."""
        from asvit.runs.timing import fresh_latency, latency

        s = self.settings
        how = s.image_size, s.latency_batch, s.device, s.latency_runtime
        if again:
            return fresh_latency(str(arch), *how, num_classes=self.limits.classes)
        return latency(arch, *how, num_classes=self.limits.classes)

    def _follow(self, search: Search, tell: Tell) -> None:
        """Search, with a snapshot in trials.csv every few steps and when it is stopped."""
        before = len(search.rows)
        self._last = Progress(search.unit, before, self.settings.trials, resumed=before)
        if search.rows:
            self._save(search.rows)  # a kill may have left it behind the study
        try:
            for progress in search.run():
                self._last = progress
                self._check_per_cent(search.rows)
                if progress.done == 1 or progress.done % SAVE_EVERY == 0:
                    self._save(search.rows)
                tell(progress)
        except OSError:
            raise  # a disk that refuses the study would refuse the table, too
        except BaseException:
            self._save(search.rows)
            raise
        self._save(search.rows)

    def _check_per_cent(self, rows: Sequence[TrialRow]) -> None:
        """Refuse shares from a function of the caller, as soon as there are a few."""
        from asvit.reference.statistics import check_per_cent

        if self.judged or self.evaluate is None or len(rows) < LEAST_TRAININGS:
            return
        try:
            check_per_cent([row.values[ACCURACY] for row in rows])
        except ValueError as error:
            raise ValueError(f"evaluate: {error}; {ELSEWHERE}") from error

    def _save(self, rows: Sequence[TrialRow]) -> None:
        write_trials(self.folder / TRIALS, rows, self.settings.proxies)

    def conclude(self, store: StudyStore, result: SearchResult) -> SearchResult:
        """As the base does; write the tables of a finished search where they are not there."""
        from asvit.search.loop import History

        if not all((self.folder / name).exists() for name in self._tables):
            rows = History(store.study, self.space, self.settings, self.better).rows
            self._save(rows)
            if TRAINED in self._tables:
                self._save_trainings(rows, store.study)
        return super().conclude(store, result)

    @property
    def _tables(self) -> Sequence[str]:
        """The tables of a finished run."""
        return [TRIALS] if self.judged or self.evaluate is not None else [TRIALS, TRAINED]

    def _save_trainings(self, rows: Sequence[TrialRow], study: Study) -> None:
        """Write all trainings as a reference table."""
        from asvit.search.trained import gathered, trained_again
        from asvit.search.training_tables import to_csv

        side = self.settings.image_size
        again = trained_again(study)
        trained = gathered(rows, self.before, self.space, self.limits, side, again)
        pool = self.pool
        content = to_csv(trained, pool.lines, self.settings, pool.context.num_classes)
        write_text(self.folder / TRAINED, content)

    @property
    def typed_otherwise(self) -> Mapping[str, str]:
        """The storage without passwords, and the table that trainings start from by its name."""
        otherwise = {}
        if self.storage is not None:
            otherwise["storage"] = public_url(self.storage)
        if self.table is not None and not self.judged:
            table = self.table
            otherwise["reference"] = str(table.name if table.name in REFERENCES else table.path)
        return otherwise

    @property
    def training_command(self) -> str:
        """As the base does; what was trained briefly goes on with as many images, for longer."""
        s, command = self.settings, super().training_command
        if not isinstance(s, TrainingSearchSettings):
            return command
        if s.data == "fractal":
            command += f" --classes {s.classes} --train-images {s.train_images}"
        return f"{command} --recipe small"

    @property
    def always_typed(self) -> Sequence[str]:
        """A search that trains is known by its trainings."""
        return () if self.judged else ("trainings",)

    def remaining(self) -> Remaining:
        """What is left to do; a storage of its own is not opened."""
        import numpy as np

        from asvit.runs.estimate import Remaining, training_seconds, with_example
        from asvit.runs.measurement_pool import MeasurementJob

        s, done = self.settings, 0 if self.fresh or self.outside else self.steps_done()
        left = max(0, s.trials - done)
        if not left:
            return Remaining(done, 0)
        if isinstance(s, TrainingSearchSettings):
            seconds = training_seconds(s, self.workers, done=done) / left
            return Remaining(done, left, seconds)
        arch = self.limits.sample(np.random.default_rng(s.seed))
        job = MeasurementJob(arch, s.proxies, str(arch), s.image_size)
        return with_example(Remaining(done, left), job, s, space=self.space)

    def steps_done(self) -> int:
        """Steps that the run in the folder has measured; nothing there is touched."""
        from asvit.search.journal import read_journal
        from asvit.search.sampler import measured_trials
        from asvit.search.study import StudyStore, first_study

        with contextlib.suppress(FileNotFoundError, ValueError):  # it follows from the journal
            if SearchResult.read(self.folder / RESULT).settings == self.settings:
                return self.settings.trials
        if not (self.folder / JOURNAL).exists():
            return 0
        study = first_study(read_journal(self.folder / JOURNAL))
        if study is None:
            return 0
        check_settings(self, self._ours(StudyStore(study)))
        return len(measured_trials(study))

    @classmethod
    def summary(cls, result: SearchResult) -> Iterator[SummaryPart]:
        """The finalists, how the search went, and how far to trust its measures."""
        settings, latency = result.settings, result.latency
        if isinstance(settings, MeasureSearchSettings):
            yield _measured(result, settings)
        else:
            yield _trained(result)
        yield (
            f"seed architecture: {result.params:,} params, {result.macs:,} multiply-adds at "
            f"{settings.image_size} px"
        )
        count = result.steps + result.retrainings
        words = [f"{count} {settings.counted} in {clock(result.wall_seconds)}"]
        first, last = result.entropy
        if math.isfinite(first) and math.isfinite(last):
            words.append(f"entropy {first:.2f} to {last:.2f} nats")
        if result.failures:
            words.append(f"{result.failures} failed")
        if result.reason:
            words.append(f"of the seed {result.reason}")
        yield "; ".join(words)
        if latency is not None:
            yield from latency.doubts(settings.max_latency or math.inf)
        if settings.trains:
            yield result.accuracies_in_words
        if result.predictor is not None:
            yield result.predictor.in_words
        yield from rank_table(result.reliability)
        if f"--budget {_budget(result.params)} " in f"{result.next_command} ":
            yield f"next grows the seed to {_GROWTH} times its size; --budget takes another one"


def _measured(result: SearchResult, settings: MeasureSearchSettings) -> Table:
    """The finalists, the seed first, with both values of each measure."""
    measures = without_sizes(result.values)
    again = any(finalist.again for finalist in result.finalists)
    columns = ["", "architecture", "params"]
    for measure in measures:
        columns += [measure, "again"] if again else [measure]
    rows: list[list[Cell]] = []
    for finalist in result.seed_first:
        row: list[Cell] = [finalist.origin, finalist.architecture, finalist.params]
        for measure in measures:
            row += [finalist.values[measure], *([finalist.again.get(measure)] if again else [])]
        rows.append(row)
    title = "The finalists; the first is the seed architecture"
    if again:
        title = f"The finalists, measured again on {networks(settings.recheck)}; the first "
        title += "is the seed architecture"
    if settings.pick == "policy":
        title += " (--pick policy)"
    return _timed(result, columns, rows, title)


def _trained(result: SearchResult) -> Table:
    """The finalists of a search that trains, the seed first."""
    predicted = any(math.isfinite(finalist.predicted) for finalist in result.finalists)
    again = result.confirmed is not None
    columns = ["architecture", "params", "trainings", "mean"]
    columns += ["predicted"] * predicted + ["retrained [90 %]"] * again
    rows: list[list[Cell]] = []
    for finalist in result.seed_first:
        fresh = None if finalist.confirmed is None else finalist.confirmed.estimate
        row: list[Cell] = [finalist.architecture, finalist.params, finalist.trainings]
        rows.append([*row, finalist.values[ACCURACY]])
        rows[-1] += [finalist.predicted] * predicted + [fresh] * again
    title = "The best architectures (accuracies in %); the first is the seed architecture"
    return _timed(result, columns, rows, title)


def _timed(
    result: SearchResult, columns: list[str], rows: Sequence[list[Cell]], title: str
) -> Table:
    """The table of the finalists, with their latencies where these were limited."""
    if result.latency is not None:
        columns.append("ms")
        for finalist, row in zip(result.seed_first, rows, strict=True):
            row.append(None if finalist.latency is None else finalist.latency.milliseconds)
    return Table(columns, rows, title, rule=1)


def _budget(params: int) -> str:
    """The budget of the next command: ten times the seed's parameters, in two digits.

    The paper goes to 38 times, in hours; this is a first step at any image size.
    """
    return str(Budget("params", max(1, round(float(f"{_GROWTH * params:.2g}")))))


@with_options(SearchSettings, SearchRun, CallOptions)
def run_search(
    *, workers: Workers | None = None, evaluate: Evaluate | None = None, **given: Any
) -> SearchResult:
    """Search a space for a seed architecture; the same call continues a run that was stopped.

    The run folder holds ``study.journal`` (the Optuna study), ``trials.csv``, ``result.json``
    and the report. Stopped at any point, even by ``kill -9``, the run continues to the identical
    trials; at most the architecture in flight is measured again. More steps than before extend
    a run; a finished one only gives its result.

    Args:
        workers: Processes that measure; the result does not depend on them.
        evaluate: A function that measures the architecture of a text in place of the proxies,
            called in this process. It gives an :class:`asvit.search.Measurement`; an architecture
            for which it raises an error, or gives no number, has failed with the reason.

    Example:
        >>> result = asvit.run_search(
        ...     steps=2, image_size=32, images=2, points=3, repeats=1, recheck=1, out="search"
        ... )
        >>> asvit.cost(result.seed_architecture).params == result.params
        True
    """
    return SearchRun.make(workers=workers, evaluate=evaluate, **given).run()

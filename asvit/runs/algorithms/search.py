"""The algorithm of searches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Self, TypeVar, cast

import numpy as np

from asvit.core.continuing import ELSEWHERE
from asvit.core.files import write_text
from asvit.core.latency_settings import pass_options
from asvit.core.measuring_settings import MeasuringSettings
from asvit.core.progress import Tell, image_progress
from asvit.core.run_files import JOURNAL, TRAINED, TRIALS
from asvit.core.settings import fields_of
from asvit.executors.base import Workers
from asvit.executors.placement import device_of
from asvit.growth.seed import GrowthSeed
from asvit.measuring.latency import Latency
from asvit.runs.algorithms.measuring import MeasuringAlgorithm
from asvit.runs.checks import find_space
from asvit.runs.command_line import command_line
from asvit.runs.lifecycle import earlier_result, finished_result
from asvit.runs.measurement_pool import Evaluator
from asvit.runs.run import Run
from asvit.runs.scaling import SCALE
from asvit.runs.search import SearchRun, next_budget
from asvit.runs.timing import fresh_latency, latency
from asvit.runs.training_pool import TrainingPool
from asvit.search import Measurement, TrialRow
from asvit.search.conclusion import conclude_measured, conclude_trained, gathered, retrained
from asvit.search.controllers import get_controller
from asvit.search.limits import Limits
from asvit.search.loop import Search
from asvit.search.objective import Objective, by_function
from asvit.search.result import SearchResult
from asvit.search.rows import BEST, best_rows, objectives, write_trials
from asvit.search.sampler import measured_trials
from asvit.search.settings import (
    ACCURACY,
    FINALISTS,
    SearchSettings,
    usual_multiple,
)
from asvit.search.study import StudyStore, open_study, quiet_optuna
from asvit.search.trained import to_csv
from asvit.spaces import SearchSpace
from asvit.spaces.base import Architecture
from asvit.training.short import accuracies_in_words
from proxies import get_proxy
from scaling.ranking import Better

R = TypeVar("R", bound=Run[Any, Any, Any])
SearchStore = StudyStore[SearchSettings]


SAVE_EVERY = 10  # steps between two snapshots of the study in trials.csv


def with_multiple(run: R, workers: Workers | None) -> R:
    """A search or a design with its width multiple, which follows from the device unless given.

    A finished one keeps its own, on whatever machine it is shown. Not where a command times
    networks: its device need not be a GPU, even if they are trained on one.
    """
    s = run.settings
    limits = s.max_params, s.max_macs
    if s.width_multiple is not None or s.latency_command is not None or not any(limits):
        return run
    earlier = earlier_result(run)
    own = None if earlier is None else earlier.settings.width_multiple
    multiple = own or usual_multiple(device_of(s.device, workers), *limits)
    return replace(run, settings=replace(s, width_multiple=multiple))


@dataclass(kw_only=True)
class SearchAlgorithm(MeasuringAlgorithm[SearchSettings, SearchResult, SearchStore], SearchRun):
    """A search: a controller draws architectures, which are measured or trained."""

    def resolved(self) -> Self:
        """With the final width multiple."""
        return with_multiple(self, self.workers)

    def check(self) -> None:
        """Refuse unknown names and sizes that do not suit."""
        if self.evaluate is not None and self.workers is not None:
            raise ValueError("a function given as evaluate is called here; leave workers out")
        get_controller(self.settings.controller)
        _ = self.better, self.space
        if self.settings.limited and finished_result(self) is None:
            self.limits.sample(np.random.default_rng(0))  # or nothing is within

    @property
    def judged(self) -> bool:
        """Whether the run measures."""
        return not self.settings.trains

    @cached_property
    def limits(self) -> Limits:
        """The limits of networks, but for their latency."""
        return Limits(self.space, self.settings)

    @cached_property
    def better(self) -> Mapping[str, Better]:
        """Direction of each measure; that of the accuracy where the search trains."""
        names = self.settings.proxies
        better: dict[str, Better] = {
            name: "higher" if name == ACCURACY else get_proxy(name).better for name in names
        }
        if not objectives(better):
            raise ValueError(
                f"nothing to search for: {', '.join(names)} {'is' if len(names) == 1 else 'are'} "
                "only reported; add a measure that has a better side, such as length_distortion"
            )
        return better

    @cached_property
    def space(self) -> SearchSpace:
        """What is searched."""
        s = self.settings
        return find_space(s.space, image_size=s.image_size, width=s.width)

    @cached_property
    def pool(self) -> Any:
        """Measures with the proxies, or trains; both on images."""
        kind, settings = Evaluator if self.judged else TrainingPool, cast("Any", self.settings)
        progress = image_progress(self.progress)
        return kind(self.space, settings, workers=self.workers, progress=progress)

    def load(self) -> Mapping[str, Any]:
        """Images and device; a function of the caller needs none."""
        if self.evaluate is not None:
            return {}
        return {"images": dict(self.pool.context.provenance), "device": self.pool.device}

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Keep Optuna quiet, and stop the workers in the end."""
        with quiet_optuna(), contextlib.ExitStack() as stack:
            stack.callback(lambda: "pool" in vars(self) and self.pool.close())
            yield

    def open(self) -> SearchStore:
        """The study, a new one if there is none."""
        study = open_study(self.folder / JOURNAL, objectives(self.better))
        return StudyStore(study, SearchSettings.from_json)

    @property
    def measures(self) -> Sequence[str]:
        """As the base has them; none where a function of the caller stands in for them."""
        return () if self.evaluate is not None else super().measures

    def check_store(self, store: SearchStore) -> None:
        """Check the function, the space, and the number of trainings."""
        if store.settings is None:
            return
        if (by_function := _by_function(store)) != (self.evaluate is not None):
            started = "with a function; give" if by_function else "without a function; leave out"
            raise ValueError(
                f"run folder {self.folder} was started {started} evaluate, {ELSEWHERE}"
            )
        s, trials = self.settings, len(measured_trials(store.study))
        if s.trains and trials > s.trials:
            raise ValueError(
                f"trainings={s.trainings} has {s.trials} for drawn architectures, and {trials} "
                "are drawn already; use more"
            )

    def settled(self, store: SearchStore, result: SearchResult) -> bool:
        """As the base says, and its tables are there; a function is needed no more."""
        shown = _by_function(store) or self.evaluate is None
        tables = [TRIALS] if _by_function(store) else self.tables
        written = all((self.folder / name).exists() for name in tables)
        return super().settled(store, result) and shown and written

    def execute(self, store: SearchStore, tell: Tell) -> SearchResult:
        """Search until the trials are done, and evaluate the finalists again."""
        s, search = self.settings, self._search(store)
        self._follow(search, tell)
        end: Any = {"time": lambda arch: self._latency_again(store, arch)}
        if s.trains:
            conclusion = conclude_trained(search, self.limits, s, tell, **end)
        else:
            again = partial(self._evaluate, again=True) if self.evaluate is None else None
            conclusion = conclude_measured(search, self.limits, s, tell, again=again, **end)
        rows, seed = search.rows, conclusion.seed
        if TRAINED in self.tables:
            self._save_trainings(search)
        return self.result(
            store,
            {name: store.start_values.get(name) for name in ("images", "device")},
            seed_architecture=seed.architecture,
            params=seed.params,
            macs=seed.macs,
            values=seed.values,
            reason=seed.reason,
            steps=len(rows),
            retrainings=conclusion.retrainings,
            failures=sum(row.state == "failed" for row in rows),
            entropy=(rows[0].entropy, rows[-1].entropy),
            wall_seconds=search.seconds,
            front=best_rows(rows, self.better, front=True),
            finalists=conclusion.finalists,
            confirmed=seed.confirmed,
            predictor=conclusion.predictor,
            latency=seed.latency,
            next_command=self._next_command(seed.architecture, seed.params),
        )

    def _search(self, store: SearchStore) -> Search:
        """The search as the study has it."""
        s, function = self.settings, self.evaluate
        evaluate = self._evaluate if function is None else by_function(function, s.proxies)
        unit = "step" if self.judged else "training"
        make = get_controller(s.controller).make
        time = None if s.max_latency is None else partial(self._milliseconds, store)
        after = 0.0
        if s.trains:
            after = float(FINALISTS * s.final_trainings)
        elif function is None:
            after = (min(BEST, s.trials) + 1) * s.recheck / s.repeats
        return Search(
            store.study,
            self.space,
            Objective(evaluate, self.better, repeated=not self.judged, unit=unit),
            make(self.space.dimensions, objectives(self.better), s),
            trials=s.trials,
            batch=s.batch,
            limits=Limits(self.space, s, time),
            after=after,
        )

    def _next_command(self, arch: str, params: int) -> str:
        """Grow the seed by the same measures, or train it where it cannot be grown.

        A search by trainings ends in a training on the same images.
        """
        if not self.judged:
            return self.training_command
        names = (*fields_of(MeasuringSettings), "proxies")
        same = {name: getattr(self.settings, name) for name in names}
        try:
            scaling = SCALE.make(architecture=arch, budgets=next_budget(params), **same)
            GrowthSeed(scaling.settings)  # below a limit it may be too narrow to be measured
        except ValueError:
            return self.training_command
        return command_line("scale", scaling.settings, typed={"budgets": scaling.settings.budgets})

    def _evaluate(
        self, architectures: Sequence[Architecture], seeds: Sequence[int], *, again: bool = False
    ) -> Iterable[Measurement]:
        """Measure or train architectures, in order; ``again`` on fresh networks."""
        how: Any = {"again": again} if self.judged else {"seeds": seeds}
        measurements: Iterable[Measurement] = self.pool.all(architectures, **how)
        return measurements

    def _milliseconds(self, store: SearchStore, network: Architecture) -> float:
        """The latency of a network, timed once in the life of the study."""
        timed = partial(self._time, network)
        return store.remembered(f"latency of {network}", Latency, timed).milliseconds

    def _latency_again(self, store: SearchStore, arch: Architecture) -> Latency | None:
        """The latency of a finalist, timed in a process of its own; None without a limit."""
        if self.settings.max_latency is None:
            return None
        network = self.limits.network(arch)

        timed = partial(self._time, network, again=True)
        return store.remembered(f"latency again of {network}", Latency, timed)

    def _time(self, arch: Architecture, *, again: bool = False) -> Latency:
        """How long a forward pass of a network takes; ``again`` in a process of its own."""
        options: Any = {
            "image_size": self.settings.image_size,
            "num_classes": self.limits.classes,
            "in_chans": self.limits.channels,
            **pass_options(self.settings),
        }
        return fresh_latency(str(arch), **options) if again else latency(arch, **options)

    def _follow(self, search: Search, tell: Tell) -> None:
        """Search, with a snapshot in trials.csv every few steps and when it is stopped."""
        if search.rows:
            self._save(search.rows)  # a kill may have left it behind the study
        try:
            for progress in search.run():
                done = progress.done
                if done == 1 or done % SAVE_EVERY == 0:
                    self._save(search.rows)
                tell(progress)
        except OSError:
            raise  # a disk that refuses the study would refuse the table, too
        except BaseException:
            self._save(search.rows)
            raise
        self._save(search.rows)

    def _save(self, rows: Sequence[TrialRow]) -> None:
        """Write trials.csv."""
        write_trials(self.folder / TRIALS, rows, self.settings.proxies)

    @property
    def tables(self) -> Sequence[str]:
        """The tables of a finished run."""
        of_pool = self.settings.trains and self.evaluate is None
        return [TRIALS, TRAINED] if of_pool else [TRIALS]

    def _save_trainings(self, search: Search) -> None:
        """Write all trainings as a reference table."""
        trained = gathered(search.rows, self.space, self.limits, retrained(search.study))
        pool = self.pool
        sizes = pool.context.num_classes, pool.context.in_chans
        lines = {**pool.lines, "accuracies": accuracies_in_words(pool.settings.balance)}
        write_text(self.folder / TRAINED, to_csv(trained, lines, self.settings, *sizes))

    @property
    def typed_values(self) -> Mapping[str, object]:
        """A search that trains is known by its trainings."""
        s = self.settings
        return {"trainings": s.trainings} if s.trains else {}

    @property
    def training_command(self) -> str:
        """As the base does, with as many images as the short trainings had."""
        s, command = self.settings, super().training_command
        if not s.trains:
            return command
        if s.data == "fractal":
            command += f" --train-images {s.train_images}"
        if s.balance != "none":
            command += f" --balance {s.balance}"
        return f"{command} --recipe small"


def _by_function(store: SearchStore) -> bool:
    """Whether a search was started by a function of the caller, which has no images."""
    return store.settings is not None and "images" not in store.start_values

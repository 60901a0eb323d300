"""The algorithm of searches."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from asvit.core.command_line import command_line
from asvit.core.files import write_text
from asvit.core.progress import image_progress
from asvit.core.run_files import STUDY, TRAINED, TRIALS
from asvit.core.settings import Settings, fields_of
from asvit.core.shared_settings import MeasuringSettings
from asvit.executors.base import Workers
from asvit.executors.placement import device_of, on_cluster
from asvit.growth.seed import GrowthSeed
from asvit.growth.settings import ScaleSettings
from asvit.measuring.latency import Latency
from asvit.reference.query import stored_reliability
from asvit.runs.algorithms.measuring import NetworkTimes, find_space, timing, training_command
from asvit.runs.measurement_pool import Evaluator
from asvit.runs.run_folder import RunFolder
from asvit.runs.search import next_budget
from asvit.runs.training_pool import TrainingPool
from asvit.search import Measurement
from asvit.search.conclusion import conclude_measured, conclude_trained, gathered, retrained
from asvit.search.controllers import get_controller
from asvit.search.limits import Limits
from asvit.search.loop import Search
from asvit.search.objective import Objective, by_function
from asvit.search.result import Entropy, SearchResult
from asvit.search.rows import BEST, best_rows, objectives, write_trials
from asvit.search.settings import ACCURACY, FINALISTS, SearchSettings, usual_multiple
from asvit.search.study import open_study, quiet_optuna
from asvit.search.trained import to_csv
from asvit.spaces.base import Architecture
from asvit.training.short import accuracies_in_words
from proxies import get_proxy
from scaling.ranking import Better

S = TypeVar("S", bound=Settings)
Run = RunFolder[SearchSettings, SearchResult]

_JUDGE = "asvit-fractal"  # the bundled table whose stored scores judge the measures
SAVE_EVERY = 10  # steps between two snapshots of the study in trials.csv


def with_multiple(s: S, workers: Workers | None) -> S:
    """Settings of a search or a design with their width multiple, by the device unless given.

    Not where a command times networks: its device need not be a GPU, even if they are trained on
    one.
    """
    o: Any = s
    limits = o.max_params, o.max_macs
    if o.width_multiple is not None or o.latency_command is not None or not any(limits):
        return s
    multiple = usual_multiple(device_of(o.device, workers), *limits)
    return cast("S", replace(o, width_multiple=multiple))


def execute(asked: SearchSettings, run: Run) -> SearchResult:
    """Search until the trials are done, and evaluate the finalists again.

    A controller draws architectures, which are measured, trained, or evaluated by the function of
    the caller.
    """
    workers, function = run.options.workers, run.options.evaluate
    if function is not None and workers is not None:
        raise ValueError("a function given as evaluate is called here; leave workers out")
    if function is None and (finished := run.settled()) is not None:
        return finished
    s = with_multiple(asked, workers)
    space = find_space(s.space, image_size=s.image_size, width=s.width)
    better: dict[str, Better] = {
        name: "higher" if name == ACCURACY else get_proxy(name).better for name in s.proxies
    }
    if not (goals := objectives(better)):
        raise ValueError(
            f"nothing to search for: {', '.join(better)} {'is' if len(better) == 1 else 'are'} "
            "only reported; add a measure that has a better side, such as length_distortion"
        )
    controller, limits = get_controller(s.controller), Limits(space, s)
    if s.limited:
        limits.sample(np.random.default_rng(0))  # or nothing is within
    how = s.in_words(on_cluster(s.device, workers))
    run.title = f"searching {s.space} by {s.controller}: {s.size_in_words}, {how}"
    with quiet_optuna(), ExitStack() as stack:
        pool: Any = None
        objective, origin = "a function", dict[str, Any]()
        if function is None:
            kind, objective = (TrainingPool, "trainings") if s.trains else (Evaluator, "measures")
            progress = image_progress(run.tell)
            pool = kind(space, cast("Any", s), workers=workers, progress=progress)
            stack.callback(pool.close)
            origin = {"images": dict(pool.context.provenance), "device": pool.device}
            origin |= timing(s, () if s.trains else s.proxies, workers)
        run.begin(s, objective=objective, **origin)
        if (finished := run.settled()) is not None:
            return finished
        times = None
        if s.max_latency is not None:
            sizes = {"classes": limits.classes, "channels": limits.channels}
            times = NetworkTimes(run, s, image_size=s.image_size, **sizes)

        def time(arch: Architecture) -> Latency | None:
            return None if times is None else times.again(limits.network(arch))

        def evaluate(architectures: Any, seeds: Any) -> Iterable[Measurement]:
            options = {"seeds": seeds} if s.trains else {}
            measured: Iterable[Measurement] = pool.all(architectures, **options)
            return measured

        after = 0.0  # evaluations of finalists, in units of a trial
        if s.trains:
            after = float(FINALISTS * s.final_trainings)
        elif pool is not None:
            after = (min(BEST, s.trials) + 1) * s.recheck / s.repeats
        search = Search(
            open_study(run.folder / STUDY, goals),
            space,
            Objective(
                evaluate if function is None else by_function(function, s.proxies),
                better,
                repeated=s.trains,
                unit="training" if s.trains else "step",
            ),
            controller.make(space.dimensions, goals, s),
            trials=s.trials,
            batch=s.batch,
            limits=Limits(space, s, None if times is None else times.milliseconds),
            after=after,
        )
        _follow(search, run, s)
        if s.trains:
            conclusion = conclude_trained(search, limits, s, run.tell, time=time)
        else:
            again = None if pool is None else lambda archs, _seeds: pool.all(archs, again=True)
            conclusion = conclude_measured(search, limits, s, run.tell, again=again, time=time)
        rows, seed = search.rows, conclusion.seed
        if s.trains and pool is not None:
            trained = gathered(rows, space, limits, retrained(search.study))
            lines = {**pool.lines, "accuracies": accuracies_in_words(pool.settings.balance)}
            images = pool.context.num_classes, pool.context.in_chans
            write_text(run.folder / TRAINED, to_csv(trained, lines, s, *images))
    judged = pool is not None and not s.trains
    return run.result(
        {name: origin.get(name) for name in ("images", "device")},
        seed_architecture=seed.architecture,
        params=seed.params,
        macs=seed.macs,
        values=seed.values,
        reason=seed.reason,
        steps=len(rows),
        retrainings=conclusion.retrainings,
        failures=sum(row.state == "failed" for row in rows),
        entropy=Entropy(rows[0].entropy, rows[-1].entropy),
        wall_seconds=search.seconds,
        front=best_rows(rows, better, front=True),
        finalists=conclusion.finalists,
        confirmed=seed.confirmed,
        predictor=conclusion.predictor,
        latency=seed.latency,
        next_command=_next_command(s, run.folder, seed.architecture, seed.params),
        reliability=stored_reliability(_JUDGE, s.proxies) if judged else None,
    )


def _follow(search: Search, run: Run, s: SearchSettings) -> None:
    """Search, with a snapshot in trials.csv every few steps and when it is stopped."""

    def save() -> None:
        write_trials(run.folder / TRIALS, search.rows, s.proxies)

    if search.rows:
        save()  # a kill may have left it behind the study
    try:
        for progress in search.run():
            if progress.done == 1 or progress.done % SAVE_EVERY == 0:
                save()
            run.tell(progress)
    except OSError:
        raise  # a disk that refuses the study would refuse the table, too
    except BaseException:
        save()
        raise
    save()


def _next_command(s: SearchSettings, folder: Path, arch: str, params: int) -> str:
    """Grow the seed by the same measures, or train it where it cannot be grown.

    A search by trainings ends in a training on as many images as the short trainings had.
    """
    command = training_command(folder, s)
    if s.trains:
        images = f" --train-images {s.train_images}" if s.data == "fractal" else ""
        balance = f" --balance {s.balance}" if s.balance != "none" else ""
        return f"{command}{images}{balance} --recipe small"
    same = {name: getattr(s, name) for name in (*fields_of(MeasuringSettings), "proxies")}
    try:
        scaling = ScaleSettings.make(architecture=arch, budgets=next_budget(params), **same)
        GrowthSeed(scaling)  # below a limit it may be too narrow to be measured
    except ValueError:
        return command
    return command_line("scale", scaling, typed={"budgets": scaling.budgets})

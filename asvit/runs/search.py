"""A search from its settings to a run folder: started, continued, or found to be finished."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study

from asvit._run_files import JOURNAL, REPORT, RESULT, TRIALS
from asvit.executors import Workers
from asvit.reference import ReferenceTable
from asvit.runs.checks import find_directions, find_space, find_table
from asvit.runs.evaluator import Evaluator
from asvit.runs.folder import SEARCH, check_folder, claimed, named_folder, remove_files
from asvit.runs.growable import find_growable
from asvit.runs.provenance import changed_options, versions
from asvit.runs.search_result import SearchResult
from asvit.search import (
    Evaluate,
    Measurement,
    Search,
    SearchSettings,
    StepEvent,
    get_controller,
    make_settings,
    pareto_front,
    write_trials,
)
from asvit.search.journal import open_journal
from asvit.search.ledger import objectives
from asvit.search.loop import recall
from asvit.search.sharing import Share
from asvit.search.study import (
    STUDY,
    check_device,
    check_images,
    check_settings,
    create_study,
    find_study,
    keep_start,
    open_url,
    quiet_optuna,
    without_password,
)
from scaling.ranking import Better

if TYPE_CHECKING:
    from asvit.runs.correlation.measure import RowEvent
    from asvit.spaces import SearchSpace

SAVE_EVERY = 10  # steps; the study has each one, trials.csv is for who looks in meanwhile


def run_search(
    *,
    out: Path | str | None = None,
    progress: Callable[[StepEvent], None] | None = None,
    image_progress: Callable[[int, int], None] | None = None,
    fresh: bool = False,
    storage: str | None = None,
    preset: str = "default",
    reference: str | Path | ReferenceTable | None = None,
    reference_progress: Callable[[RowEvent], None] | None = None,
    evaluate: Evaluate | None = None,
    workers: Workers | None = None,
    **settings: Any,
) -> SearchResult:
    """Search a space for a seed architecture; the same call continues a run that was stopped.

    The run folder holds ``study.journal`` (the Optuna study), ``trials.csv``, ``result.json``
    and the report. Stopped at any point, even by ``kill -9``, the run continues to the identical
    trials; at most the architecture in flight is measured again. More steps than before extend
    a run; a finished one only gives its result.

    Args:
        out: Run folder; ``runs/search-SPACE-CONTROLLER-SIZEpx-seedN`` by default.
        progress: Called after each measured architecture.
        image_progress: Called as images are made or read, with how many are ready, and how many
            there will be.
        fresh: Start over: the folder's earlier run is removed, other files in it are not.
        storage: URL of any Optuna storage; a journal in the run folder by default. The study in
            it is named after the run folder, and runs of that name in other folders share it.
        preset: Name of a set of settings; see :data:`asvit.search.PRESETS`.
        reference: Reference table, by its name or path, that tells how far the run's measures can
            be trusted: after the search they are correlated with its accuracies.
        reference_progress: Called after each row of it that is measured.
        evaluate: Measures the architecture of a text; with the proxies by default. It is called
            in this process.
        workers: Who measures: unless given, one process for each core where the run is long, else
            this one. The result does not depend on it.
        **settings: Fields of :class:`asvit.search.SearchSettings`, on top of the preset's.

    Returns:
        The result, as in result.json.

    Raises:
        ValueError: If a setting is not allowed, the folder's run has other settings or is in
            use or was started on another device, its journal is corrupt, or nothing can be
            measured.
        OSError: If the folder cannot be written or images cannot be found.
        TypeError: If there is no such setting.
    """
    started = time.monotonic()
    wanted = make_settings(preset, **settings)
    table = None if reference is None else find_table(reference)
    get_controller(wanted.controller)
    better = find_directions(wanted.proxies)
    space = find_space(wanted.space, image_size=wanted.image_size)
    folder = default_folder(wanted) if out is None else Path(out)
    shared = None if storage is None else open_url(storage)
    elsewhere = shared is not None and find_study(shared, folder.resolve().name) is not None
    check_folder(folder, SEARCH, fresh=fresh, elsewhere=elsewhere)
    measuring = _Measuring(evaluate, space, wanted, workers, image_progress)
    if fresh or not (folder / JOURNAL).exists():
        measuring.prepare()  # may fail, so before anything is made or removed
    claim = claimed(folder, SEARCH, fresh=fresh, elsewhere=elsewhere)
    with claim, quiet_optuna(), contextlib.closing(measuring):
        if fresh and shared is not None and elsewhere:
            optuna.delete_study(study_name=folder.resolve().name, storage=shared)
        study = _open(folder, shared, wanted, better)
        result = _finished(folder, wanted)
        if result is None:
            measuring.prepare()
            if measuring.images is not None:
                check_images(study, measuring.images, folder)
            if measuring.device is not None:
                check_device(study, measuring.device, folder)
            keep_start(study, wanted, measuring.images, measuring.device)
            search = Search(
                study,
                space,
                wanted,
                better,
                evaluate=measuring.all,
                share=Share(study, shared, folder),
                started=started,
            )
            _run(search, folder, wanted, progress)
            provenance = {
                "images": measuring.images,
                "device": measuring.device,
                "versions": versions(),
                "command": _command(wanted, out, storage),
            }
            result = _result(search, folder, wanted, better, provenance)
            remove_files(folder, [REPORT])  # of fewer steps; this one is written below or later
            result.write(folder / RESULT)
        elif not (folder / TRIALS).exists():
            write_trials(folder / TRIALS, recall(study, space, wanted, better), wanted.proxies)
        if not (folder / REPORT).exists():
            _write_report(folder)
        if table is not None:
            from asvit.runs.correlation.reliability import (
                judged,  # scipy, which the rest does not need
            )

            result = judged(
                result,
                table,
                workers=workers,
                progress=reference_progress,
                image_progress=image_progress,
                write_report=_write_report,
            )
    return result


class _Measuring:
    """What measures for a run; the images are made or read when it comes to that.

    Attributes:
        images: Where they came from, and what they are; None before, and with an own function.
        device: Where networks are measured; likewise.
    """

    def __init__(
        self,
        evaluate: Evaluate | None,
        space: SearchSpace,
        settings: SearchSettings,
        workers: Workers | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        if evaluate is not None and workers is not None:
            raise ValueError("a function given as evaluate is called here; leave workers out")
        self._own = evaluate
        self._make = partial(Evaluator, space, settings, workers=workers, progress=progress)
        self._evaluator: Evaluator | None = None
        self.images: Mapping[str, str] | None = None
        self.device: str | None = None

    def prepare(self) -> None:
        """Have everything there that measuring needs; see :class:`Evaluator` for errors."""
        if self._own is None:
            evaluator = self._prepared()
            self.images, self.device = evaluator.provenance, evaluator.device

    def all(self, texts: Sequence[str]) -> Iterable[Measurement]:
        """Measure several architectures, in order."""
        if self._own is not None:
            return map(self._own, texts)
        return self._prepared().all(texts)

    def close(self) -> None:
        """Let workers go."""
        if self._evaluator is not None:
            self._evaluator.close()

    def _prepared(self) -> Evaluator:
        if self._evaluator is None:
            self._evaluator = self._make()
        return self._evaluator


def default_folder(settings: SearchSettings) -> Path:
    """Where a search with these settings runs unless another folder is named."""
    chosen = settings
    name = f"search-{chosen.space}-{chosen.controller}-{chosen.image_size}px-seed{chosen.seed}"
    return named_folder(name)


def _open(
    folder: Path,
    shared: BaseStorage | None,
    wanted: SearchSettings,
    better: Mapping[str, Better],
) -> Study:
    """The study of the run in ``folder``, ready to go on; a new one if there is none.

    It is in ``shared``, or else in the folder's journal.
    """
    # A study in the folder keeps its name when the folder is moved or copied; one elsewhere
    # has only the folder to be known by.
    study_name = STUDY if shared is None else folder.resolve().name
    storage = shared or open_journal(folder / JOURNAL)
    study = find_study(storage, study_name)
    if study is None:
        study = create_study(storage, study_name, objectives(better))
    check_settings(study, wanted, folder)
    return study


def _run(
    search: Search,
    folder: Path,
    settings: SearchSettings,
    progress: Callable[[StepEvent], None] | None,
) -> None:
    def save() -> None:
        write_trials(folder / TRIALS, search.rows, settings.proxies)

    if search.rows:
        save()  # a kill may have left it behind the study
    try:
        for event in search.run():
            if event.step == 1 or event.step % SAVE_EVERY == 0:
                save()
            if progress is not None:
                progress(event)
    except OSError:
        raise  # a disk that refuses the study would refuse the table, too
    except BaseException:
        save()
        raise
    save()


def _finished(folder: Path, wanted: SearchSettings) -> SearchResult | None:
    """The result in ``folder`` if it is that of ``wanted``, all of whose steps are then done."""
    try:
        result = SearchResult.read(folder / RESULT)
    except (FileNotFoundError, ValueError):
        return None  # it follows from the study and is written again
    return result if result.settings == wanted else None


def _result(
    search: Search,
    folder: Path,
    settings: SearchSettings,
    better: Mapping[str, Better],
    provenance: Mapping[str, Any],
) -> SearchResult:
    text, measurement = search.outcome()
    rows = search.rows
    return SearchResult(
        folder=folder,
        seed_architecture=text,
        params=measurement.params,
        macs=measurement.macs,
        values=measurement.values,
        reason=measurement.reason,
        steps=len(rows),
        failures=sum(row.state == "failed" for row in rows),
        entropy=(rows[0].entropy, rows[-1].entropy),
        wall_seconds=search.seconds,
        front=pareto_front(rows, better),
        settings=settings,
        provenance=provenance,
        next_command=_next_command(text),
    )


def _next_command(text: str) -> str:
    """What to do with the seed: grow it, or train it where it cannot be grown."""
    try:
        find_growable(text)
    except ValueError:
        return f"asvit train {shlex.quote(text)}"
    return f"asvit scale --budget 88M --arch {shlex.quote(text)}"


def _write_report(folder: Path) -> None:
    from asvit.report import write_search_report  # matplotlib, which the search does not need

    write_search_report(folder)


def _command(settings: SearchSettings, out: Path | str | None, url: str | None) -> str:
    """The command line that gives this run; a password in the storage's URL is left out."""
    words = changed_options(settings, SearchSettings(), spelled={"proxies": "proxy"})
    if url is not None:
        words += ["--storage", without_password(url)]
    if out is not None:
        words += ["--out", str(out)]
    return shlex.join(["asvit", "search", *words])

"""A scaling from its settings to a run folder: started, continued, or found to be finished."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit._files import write_text
from asvit._run_files import CANDIDATES, JOURNAL, REPORT, RESULT, SERIES
from asvit.executors import Workers
from asvit.growth import Journal, ScaleSettings, make_settings
from asvit.growth.journal import NAME as MEASURED
from asvit.reference import ReferenceTable
from asvit.runs.checks import find_table
from asvit.runs.crew import Crew, Load
from asvit.runs.evaluator import Bench
from asvit.runs.folder import (
    check_complete,
    check_writable,
    claimed,
    named_folder,
    newest_run,
    remove_files,
)
from asvit.runs.growable import Growable
from asvit.runs.measuring import Order, failed, in_order
from asvit.runs.provenance import changed_options, versions
from asvit.runs.scale_result import ScaleResult
from asvit.runs.search_result import SearchResult
from asvit.settings import check_same_device, check_same_images, check_same_settings
from asvit.spaces.architectures import find
from proxies import Score
from proxies.messages import first_line
from scaling import GrowthEvent, Shape, Step, Trajectory, grow
from scaling.measurement import SEED_KEY, directions
from scaling.trajectory import rows_of, to_csv

if TYPE_CHECKING:
    from asvit.runs.correlation.measure import RowEvent

FIGURES = ("growth", "sizes", "measures", "clouds")
REPORT_FILES = (REPORT, *(f"{name}.{kind}" for name in FIGURES for kind in ("svg", "csv")))

_NETWORKS = 150  # that a growth measures, about
_AT_ONCE = 16  # of them in a step
_GIGABYTES = 4.0  # that measuring one of the largest may need at 224 px


def run_scaling(
    architecture: str | None = None,
    *,
    budget: str | Sequence[str] = "88M",
    out: Path | str | None = None,
    progress: Callable[[GrowthEvent], None] | None = None,
    image_progress: Callable[[int, int], None] | None = None,
    fresh: bool = False,
    preset: str = "default",
    reference: str | Path | ReferenceTable | None = None,
    reference_progress: Callable[[RowEvent], None] | None = None,
    workers: Workers | None = None,
    **settings: Any,
) -> ScaleResult:
    """Grow an architecture to a budget; the same call continues a run that was stopped.

    The run folder holds ``measured.jsonl`` (everything measured), ``steps.csv``,
    ``candidates.csv``, ``result.json`` and the report. Stopped at any point, even by ``kill -9``,
    the run continues to the identical series; at most the network in flight is measured again.
    A larger budget extends a run; a finished one only gives its result.

    Args:
        architecture: Text of the architecture to start from; by default what the newest finished
            search in ``runs`` ended in.
        budget: Where to end, such as ``"88M"`` parameters or ``"22G"`` multiply-adds; or several,
            as ``"30M,50M,88M"``: growth ends at the largest, and the model nearest to each is
            named.
        out: Run folder; ``runs/scale-ARCHITECTURE-SIZEpx-seedN`` by default.
        progress: Called after each measured candidate and after each step.
        image_progress: Called as images are made or read, with how many are ready, and how many
            there will be.
        fresh: Start over: the folder's earlier run is removed, other files in it are not.
        preset: Name of a set of settings; see :data:`asvit.growth.PRESETS`.
        reference: Reference table, by its name or path, that tells how far the run's measures can
            be trusted: after the growth they are correlated with its accuracies.
        reference_progress: Called after each row of it that is measured.
        workers: Who measures: unless given, one process for each core where the run is long, else
            this one. The result does not depend on it.
        **settings: Other fields of :class:`asvit.growth.ScaleSettings`, on top of the preset's.

    Returns:
        The result, as in result.json.

    Raises:
        ValueError: If a setting is not allowed, the architecture or the budget does not suit, the
            folder's run has other settings or is in use, or nothing can be measured.
        OSError: If there is no search to start from, the folder cannot be written or images
            cannot be found.
        TypeError: If there is no such setting.
    """
    table = None if reference is None else find_table(reference)
    seed_run = newest_run() if architecture is None else None
    text = architecture if seed_run is None else seed_of(seed_run)
    wanted = make_settings(preset, architecture=text, budgets=budget, **settings)
    directions(wanted.proxies)
    growable = Growable(wanted)
    wanted = replace(wanted, architecture=growable.name(*growable.start))
    folder = default_folder(wanted) if out is None else Path(out)
    check_writable(folder)
    bench = None
    if fresh or not (folder / MEASURED).exists():
        # May fail, so before anything is made or removed.
        bench = Bench(wanted, progress=image_progress)
    with claimed(folder, "scaling"):
        if fresh:
            remove_files(folder, [RESULT, SERIES, CANDIDATES, *REPORT_FILES, MEASURED])
        journal = _open(folder, wanted)
        result = _finished(folder, wanted)
        if result is None:
            bench = bench or Bench(wanted, progress=image_progress)
            check_same_device(folder, journal.device, bench.device)
            check_same_images(folder, journal.images, bench.provenance)
            journal.start(wanted, bench.provenance, bench.device)
            provenance = {
                "seed_run": None if seed_run is None else str(seed_run),
                "images": dict(bench.provenance),
                "device": bench.device,
                "versions": versions(),
                "command": _command(wanted, out),
            }
            load = Load(_NETWORKS, _AT_ONCE, _GIGABYTES)
            crew = Crew({wanted.image_size: bench}, workers, load, space=growable.space)
            with closing(crew):
                grown = _grow(
                    growable, wanted, journal, crew=crew, folder=folder, progress=progress
                )
            series = grown.rows(growable.name)
            result = ScaleResult(
                folder=folder,
                space=growable.space.name,
                series=series,
                candidates=grown.rows(growable.name, candidates=True),
                reason=grown.reason,
                wall_seconds=journal.elapsed,
                settings=wanted,
                provenance=provenance,
                next_command=f"asvit cost {shlex.quote(series[-1].architecture)}",
            )
            remove_files(folder, [REPORT])  # of a smaller budget; written below or later
            result.write(folder / RESULT)
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


def seed_of(run: Path) -> str:
    """The architecture that the finished search in ``run`` ended in.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no search, or of an architecture that is not known here.
    """
    result = SearchResult.read(run / RESULT)
    try:
        find(result.seed_architecture)
    except ValueError as error:
        raise ValueError(
            f"the seed of {run}, a search of space {result.settings.space!r}, is not an "
            f"architecture that is known here ({error}); name another one with --arch"
        ) from error
    return result.seed_architecture


def default_folder(settings: ScaleSettings) -> Path:
    """Where a scaling with these settings runs unless another folder is named."""
    # No character of it may mean something to a shell or a file system.
    text = settings.architecture.translate(str.maketrans(",|:", ".--"))
    return named_folder(f"scale-{text}-{settings.image_size}px-seed{settings.seed}")


def _open(folder: Path, wanted: ScaleSettings) -> Journal:
    """The journal of the run in ``folder``, if that is this run or none.

    Raises:
        ValueError: If the folder holds another kind of run, or this one with other settings.
    """
    if (folder / JOURNAL).exists():
        raise ValueError(f"{folder} holds a search; give --out another folder for the scaling")
    path = folder / MEASURED
    check_complete(folder, MEASURED, (RESULT, SERIES, CANDIDATES))
    journal = Journal(path)
    stored = journal.settings
    if stored is not None and _extends(stored, wanted):
        stored = replace(stored, budgets=wanted.budgets)
    check_same_settings(folder, stored, wanted)
    return journal


def _extends(stored: ScaleSettings, wanted: ScaleSettings) -> bool:
    """Whether the largest budget wanted is at least the one that was, and of the same unit."""
    before, now = stored.limits[-1], wanted.limits[-1]
    return before.unit == now.unit and before.amount <= now.amount


def _finished(folder: Path, wanted: ScaleSettings) -> ScaleResult | None:
    """The result in ``folder`` if it is that of ``wanted``."""
    try:
        result = ScaleResult.read(folder / RESULT)
    except (FileNotFoundError, ValueError):
        return None  # it follows from the journal and is written again
    return result if result.settings == wanted else None


def _grow(
    growable: Growable,
    settings: ScaleSettings,
    journal: Journal,
    *,
    crew: Crew,
    folder: Path,
    progress: Callable[[GrowthEvent], None] | None,
) -> Trajectory:
    """Grow, and write the tables of the run folder anew after every step."""
    steps: list[Step] = []

    def follow(event: GrowthEvent) -> None:
        if event.chosen is not None:
            steps.append(event.chosen)
            for name, every in ((CANDIDATES, True), (SERIES, False)):
                rows = rows_of(steps, growable.name, candidates=every)
                write_text(folder / name, to_csv(rows))
        if progress is not None:
            progress(event)

    return grow(
        growable.build,
        growable.cost,
        depths=growable.start.depths,
        width=growable.start.width,
        budget=settings.limits[-1],
        stop_within=settings.stop_within,
        ratio=settings.ratio,
        width_multiple=settings.width_multiple,
        measures=settings.proxies,
        known=journal,
        measure_shapes=partial(_measure_shapes, growable, settings, crew),
        progress=follow,
    )


def _measure_shapes(
    growable: Growable, settings: ScaleSettings, crew: Crew, shapes: Sequence[Shape]
) -> Iterator[Mapping[str, Score]]:
    """The scores of each shape; all failed where there is no such network."""
    orders: list[Order] = []
    refused: dict[Shape, Mapping[str, Score]] = {}
    for shape in shapes:
        try:
            text = growable.name(*shape)
        except ValueError as error:
            refused[shape] = failed(settings.proxies, first_line(error))
        else:
            orders.append(Order(text, settings.proxies, SEED_KEY, settings.image_size))
    measured = in_order(crew.measure(orders))
    for shape in shapes:
        yield refused[shape] if shape in refused else next(measured).scores


def _write_report(folder: Path) -> None:
    from asvit.report import write_scale_report  # matplotlib, which growing does not need

    write_scale_report(folder)


def _command(settings: ScaleSettings, out: Path | str | None) -> str:
    """The command line that gives this run."""
    default = ScaleSettings(architecture="-")
    words = changed_options(
        settings,
        replace(default, budgets=settings.budgets),
        spelled={"architecture": "arch", "proxies": "proxy"},
    )
    if out is not None:
        words += ["--out", str(out)]
    return shlex.join(["asvit", "scale", "--budget", ",".join(settings.budgets), *words])

"""How a run of any kind goes: claim the folder, continue what is there, write the result.

No kind of run overrides any of it; what a kind supplies are the methods of
:class:`asvit.runs.run.Run`.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from asvit.core.continuing import (
    check_same_device,
    check_same_images,
    check_same_settings,
)
from asvit.core.display import in_notebook, progress_display
from asvit.core.progress import Progress, Tell, ignore
from asvit.core.results import NO_FOLDER
from asvit.core.run_files import REPORT, RESULT
from asvit.runs.folder import claimed, remove_files, seems_usable
from asvit.runs.reporting import write_report

if TYPE_CHECKING:
    from asvit.runs.run import J, R, Run, S


def perform(run: Run[S, R, J]) -> R:
    """Start, continue or extend a run, or find that it has finished.

    A notebook shows a bar meanwhile, unless the run tells of its progress otherwise.

    Raises:
        ValueError: If the folder's run has other settings, images or device, or is in use, or
            something does not suit.
        OSError: If the folder cannot be written to, or something cannot be found.
    """
    if run.progress is not ignore or not in_notebook():
        return _placed(run)
    with progress_display(lambda: run.title) as run.progress:
        try:
            return _placed(run)
        finally:
            run.progress = ignore  # the bar is this call's


def _placed(run: Run[S, R, J]) -> R:
    """Perform a run in its folder, or in a temporary one if it is not kept."""
    if run.kept:
        return _perform(run)
    with TemporaryDirectory() as place:
        run.scratch = Path(place)
        try:
            return dataclasses.replace(_perform(run), folder=NO_FOLDER)
        finally:
            run.scratch = None


def _perform(run: Run[S, R, J]) -> R:
    run.check()
    folder, files = run.folder, run.files
    usable = seems_usable(folder, files, fresh=run.fresh)
    # Before anything is made or removed; what is due of an earlier session is known later.
    values = run.load() if usable and not run.begun else None
    with _claim(run), run.session():
        store = run.open()
        check_settings(run, store)
        result = stored_result(run, store)
        if result is None:
            _start(run, store, values)
            result = run.execute(store, _timed(run))
            _finish(run, result)
        whole = run.conclude(store, result)
        if whole is not result:
            _finish(run, whole)
        if run.kept and run.first() and not (folder / REPORT).exists():
            write_report(type(run), folder)
    return whole


def _claim(run: Run[Any, Any, Any]) -> AbstractContextManager[None]:
    """The claim of the folder, in the first process of several."""
    if not run.first():
        return nullcontext()
    return claimed(run.folder, run.files, fresh=run.fresh, more=run.other_files)


def check_settings(run: Run[S, Any, J], store: J) -> None:
    """Check that the settings are those that the run was started with, if it was."""
    # Of the device its kind counts, which is compared once it is resolved.
    changing = (*run.free_settings(store), *run.may_move, "device")
    check_same_settings(
        run.folder, store.settings, run.settings, growing=run.may_grow, changing=changing
    )


def stored_result(run: Run[S, R, J], store: J) -> R | None:
    """The result that the folder holds, if it is all that is asked for."""
    try:
        result: Any = run.result_type.read(run.folder / RESULT)
    except (FileNotFoundError, ValueError):
        return None  # it follows from the store and is written again
    return result if run.settled(store, result) else None


def finished_result(run: Run[Any, R, Any]) -> R | None:
    """The result in the folder, if it is of the run's very settings and not to be made anew."""
    result = earlier_result(run)
    return result if result is not None and result.settings == run.settings else None


def earlier_result(run: Run[Any, R, Any]) -> R | None:
    """The result in the folder, of whatever settings; None if there is none, or with --fresh."""
    with suppress(OSError, ValueError):
        result: R | None = None if run.fresh else run.result_type.read(run.folder / RESULT)
        return result
    return None


def peeked(run: Run[Any, Any, J]) -> J:
    """What the journal of a run holds, read from a copy without a record that is unfinished."""
    state = run.folder / run.files.state
    with TemporaryDirectory() as place:
        if state.exists() and not run.fresh:
            whole, end, _ = state.read_bytes().rpartition(b"\n")
            Path(place, state.name).write_bytes(whole + end)
        copied = copy.copy(run)
        copied.out = place
        try:
            return copied.open()
        except ValueError as error:  # of the run, not of the copy
            raise ValueError(str(error).replace(place, str(run.folder))) from error


def _start(run: Run[S, Any, J], store: J, values: Mapping[str, Any] | None) -> None:
    """Check that the run goes on as it was started, and store what it is started with.

    These are ``values``, or are loaded where an earlier session left something.
    """
    now = run.load() if values is None else values
    if now is None:
        return
    before, folder = store.start_values, run.folder
    if "device" in now:
        check_same_device(folder, before.get("device"), now["device"])
    if "images" in now:
        check_same_images(folder, before.get("images"), now["images"])
    run.check_store(store)
    store.start(run.settings, **now, versions=run.versions(before.get("versions")))


def _timed(run: Run[Any, Any, Any]) -> Tell:
    """What tells of the progress of a run, with the time since now where it is not given."""
    started = time.monotonic()

    def tell(progress: Progress) -> None:
        run.work_done = True
        if not progress.seconds:
            progress = dataclasses.replace(progress, seconds=time.monotonic() - started)
        run.progress(progress)

    return tell


def _finish(run: Run[Any, R, Any], result: R) -> None:
    """Write the result; the report of an earlier one goes."""
    if run.first():
        remove_files(run.folder, [REPORT])
        result.write()

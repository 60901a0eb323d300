"""``--track``: the rows of a run, told to accelerate's experiment trackers while it goes on."""

import dataclasses
import json
import logging
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from asvit.core.codec import MALFORMED
from asvit.core.errors import WrongOption
from asvit.core.files import read_text, write_bytes
from asvit.core.progress import Track, untracked
from asvit.core.run_files import TENSORBOARD, TRACKED
from asvit.core.settings import Settings
from asvit.core.versions import missing
from asvit.runs.folder import remove_files
from proxies.messages import first_line, unknown

logger = logging.getLogger(__name__)

TRACKERS = ("tensorboard", "wandb", "mlflow")
_EVENTS = "events.out.tfevents.*"
PROJECT = "asvit"  # of wandb, and experiment of MLflow, unless the environment names another


def known_trackers(names: str) -> str:
    """Names of trackers, which have to be known, and their libraries installed.

    Raises:
        WrongOption: If accelerate has no such tracker.
        ImportError: If a library is missing.
    """
    if not isinstance(names, str):
        raise WrongOption(f"track must be names in one text, as in wandb,mlflow; got {names!r}")
    for name in _names(names):
        _class_of(name)
    return names


@contextmanager
def tracking(names: str, folder: Path, settings: Settings) -> Iterator[Track]:
    """What tells the trackers called ``names``, separated by commas, of rows.

    A run that goes on is the same run for a tracker, which is not told twice of a row. A tracker
    that fails meanwhile is left out with a warning.

    Raises:
        ValueError: If a tracker does not start, or TensorBoard has events of somebody else there.
        ImportError: If a library is missing.
    """
    file = _TrackerFile(folder / TRACKED)
    trackers: dict[str, Any] = {}
    try:
        for name in _names(names):
            trackers[name] = _started(name, folder, settings, file)
        yield _Rows(trackers, file) if trackers else untracked
    finally:
        for name, tracker in trackers.items():
            with _left_out(name):
                tracker.finish()


def forget(folder: Path) -> None:
    """Forget what trackers were told of the training in ``folder``, which begins anew."""
    names = _TrackerFile(folder / TRACKED).names
    events = event_files(folder) if "tensorboard" in names else ()  # else of somebody else
    remove_files(folder, [*events, *[TRACKED] * bool(names)])


class _TrackerFile:
    """The file that says which run a tracker knows, and up to which row of each series.

    TensorBoard has no rows in it: its files are written anew.

    Attributes:
        is_new: Whether no session before this one told a tracker.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_new = not path.exists()
        self._runs: dict[str, dict[str, Any]] = {}
        with suppress(FileNotFoundError, *MALFORMED):
            stored = json.loads(read_text(path))
            for name, run in stored.items():
                self._runs[str(name)] = {
                    "run": str(run["run"]),
                    "numbers": {str(key): int(value) for key, value in run["numbers"].items()},
                }

    @property
    def names(self) -> Collection[str]:
        """The trackers that were told."""
        return self._runs.keys()

    def run(self, name: str) -> str | None:
        """The run as the tracker calls it; None or empty where it knows of none."""
        return self._runs[name]["run"] if name in self._runs else None

    def numbers(self, name: str) -> dict[str, int]:
        """Series to the number of its last row."""
        return dict(self._runs[name]["numbers"]) if name in self._runs else {}

    def begin(self, name: str, run: str) -> None:
        """Keep the name of a run."""
        self._runs[name] = {"run": run, "numbers": self.numbers(name)}
        self._write()

    def add(self, name: str, series: str, number: int) -> None:
        """Keep that a row was told."""
        if name != "tensorboard":
            numbers = self._runs[name]["numbers"]
            numbers[series] = max(number, numbers.get(series, 0))
            self._write()

    def _write(self) -> None:
        # Without waiting for the disk: after a power cut a few rows are told twice.
        write_bytes(self._path, json.dumps(self._runs).encode(), cached=True)


class _Rows:
    """Tells trackers of rows."""

    def __init__(self, trackers: dict[str, Any], file: _TrackerFile) -> None:
        self._trackers, self._file = trackers, file
        self._before = {name: file.numbers(name) for name in trackers}

    def __call__(self, series: str, row: object, number: int) -> None:
        values = _values(series, row)
        for name, tracker in list(self._trackers.items()):
            if number <= self._before[name].get(series, 0):
                continue
            with _left_out(name) as failed:
                tracker.log(values, step=number)
                self._file.add(name, series, number)
            if failed:
                del self._trackers[name]


def _names(names: str) -> list[str]:
    parts = [part.strip() for part in names.split(",")]
    return list(dict.fromkeys(filter(None, parts)))


def _class_of(name: str) -> Any:
    """The class of a tracker."""
    try:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS
    except ImportError as error:
        raise missing("--track", "accelerate", "train") from error
    if name not in LOGGER_TYPE_TO_CLASS:
        raise WrongOption(unknown("tracker", name, TRACKERS))
    if name in TRACKERS and find_spec(name) is None:
        if name == "tensorboard":
            raise missing("--track tensorboard", name, "train")
        raise ImportError(f"--track {name} needs {name}: pip install {name}")
    return LOGGER_TYPE_TO_CLASS[name]


def _started(name: str, folder: Path, settings: Settings, file: _TrackerFile) -> Any:
    """A tracker of the run in ``folder``; of a run that goes on, one that goes on as well."""
    kind, before, options = _class_of(name), file.run(name), dict[str, Any]()
    new = not before
    title = folder.resolve().name
    project = PROJECT
    if name == "tensorboard":
        project = TENSORBOARD
        events = event_files(folder, settings=new)
        if events and file.is_new:
            raise ValueError(
                f"{folder} has {events[0]}, but not {TRACKED}, which tells that it is this run's; "
                f"move {TENSORBOARD} elsewhere, or give --out another folder"
            )
        file.begin(name, before or "")  # else events of a start that is killed were nobody's
        remove_files(folder, events)  # whose rows are told again
    elif name == "wandb":
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        before = before or uuid4().hex[:8]
        options = {"id": before, "name": title, "dir": str(folder), "resume": "allow"}
    elif name == "mlflow":
        options = {"run_id": before, "run_name": title, "nested_run": True}
    if kind.requires_logging_directory:
        options["logging_dir"] = str(folder)
    try:
        tracker = kind(project, **options)
        if hasattr(tracker, "start"):  # older versions of accelerate have none
            tracker.start()
        if new:
            tracker.store_init_configuration(_plain(settings))
        if name == "mlflow":
            before = tracker.tracker.info.run_id
    except Exception as error:  # of any library, network or account
        raise ValueError(f"--track {name} does not start: {first_line(error)}") from error
    file.begin(name, before or title)
    return tracker


def event_files(folder: Path, *, settings: bool = True) -> Sequence[str]:
    """TensorBoard's events in a run folder; those of ``settings`` are in folders of their own.

    What links lead to is none of them.
    """
    place = folder / TENSORBOARD
    if place.is_symlink():
        return ()
    patterns = [_EVENTS] + [f"*/{_EVENTS}", "*/hparams.yml"] * settings
    paths = chain.from_iterable(map(place.glob, patterns))
    return [str(path.relative_to(folder)) for path in paths if not path.parent.is_symlink()]


def _plain(settings: Settings) -> dict[str, bool | int | float | str]:
    """Settings in the types that every tracker takes."""
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in settings.to_json().items()
    }


def _values(series: str, row: object) -> dict[str, float]:
    """The numbers of a row, by ``series/name``."""
    found: dict[str, float] = {}

    def add(name: str, value: object) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                add(str(key), inner)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and math.isfinite(value):  # type: ignore[arg-type]
            found[f"{series}/{name}"] = value  # type: ignore[assignment]

    for field in dataclasses.fields(row):  # type: ignore[arg-type]
        add(field.name, getattr(row, field.name))
    return found


@contextmanager
def _left_out(name: str) -> Iterator[list[Exception]]:
    """Warn if a tracker fails; the list that it yields then has the error."""
    failed: list[Exception] = []
    try:
        yield failed
    except Exception as error:  # noqa: BLE001 - of any library; the run is worth more
        failed.append(error)
        logger.warning("%s failed (%s); the run goes on without it", name, first_line(error))

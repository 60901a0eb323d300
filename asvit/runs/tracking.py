"""``--track``: the rows of a training, told to accelerate's experiment trackers."""

import dataclasses
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asvit.core.errors import WrongOption
from asvit.core.progress import Track, untracked
from asvit.core.run_files import TENSORBOARD
from asvit.core.settings import Settings
from asvit.core.versions import missing
from proxies.messages import first_line, unknown

logger = logging.getLogger(__name__)

TRACKERS = ("tensorboard", "wandb", "mlflow")
PROJECT = "asvit"  # of wandb, and experiment of MLflow, unless the environment names another


def known_trackers(names: str) -> str:
    """Names of trackers, separated by commas: known ones, whose libraries are installed.

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

    A tracker that fails meanwhile is left out with a warning. A run that goes on tells them of
    its earlier rows again.

    Raises:
        ValueError: If a tracker does not start.
        ImportError: If a library is missing.
    """
    trackers: dict[str, Any] = {}

    def track(series: str, row: object, number: int) -> None:
        values = _values(series, row)
        for name, tracker in list(trackers.items()):
            with _left_out(name) as failed:
                tracker.log(values, step=number)
            if failed:
                del trackers[name]

    try:
        for name in _names(names):
            trackers[name] = _started(name, folder, settings)
        yield track if trackers else untracked
    finally:
        for name, tracker in trackers.items():
            with _left_out(name):
                tracker.finish()


@contextmanager
def _left_out(name: str) -> Iterator[list[Exception]]:
    """Warn if a tracker fails; the list that it yields then has the error."""
    failed: list[Exception] = []
    try:
        yield failed
    except Exception as error:  # noqa: BLE001 - of any library; the run is worth more
        failed.append(error)
        logger.warning("%s failed (%s); the run goes on without it", name, first_line(error))


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


def _started(name: str, folder: Path, settings: Settings) -> Any:
    """A tracker of the run in ``folder``."""
    kind, title = _class_of(name), folder.resolve().name
    project = os.environ.get("WANDB_PROJECT", PROJECT) if name == "wandb" else PROJECT
    own: dict[str, dict[str, Any]] = {
        "wandb": {"name": title, "dir": str(folder)},
        "mlflow": {"run_name": title, "nested_run": True},
    }
    options = own.get(name, {})
    if kind.requires_logging_directory:
        options = {**options, "logging_dir": str(folder)}
    try:
        tracker = kind(TENSORBOARD if name == "tensorboard" else project, **options)
        if hasattr(tracker, "start"):  # older versions of accelerate have none
            tracker.start()
        tracker.store_init_configuration(_plain(settings))
    except Exception as error:  # of any library, network or account
        raise ValueError(f"--track {name} does not start: {first_line(error)}") from error
    return tracker


def _plain(settings: Settings) -> dict[str, bool | int | float | str]:
    """Settings in the types that every tracker takes."""
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in settings.to_json().items()
    }


def _values(series: str, row: object) -> dict[str, float]:
    """The finite numbers of a row, by ``series/name``."""
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

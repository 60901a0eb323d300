"""``--track``: the rows of a training, told to accelerate's experiment trackers."""

import dataclasses
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
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
        values = _numbers(series, row)
        for name, tracker in list(trackers.items()):
            if not _works(name, partial(tracker.log, values, step=number)):
                del trackers[name]

    try:
        for name in _names(names):
            kind = _class_of(name)
            try:
                trackers[name] = _started(kind, name, folder, settings)
            except Exception as error:  # of any library, network or account
                raise ValueError(f"--track {name} does not start: {first_line(error)}") from error
        yield track if trackers else untracked
    finally:
        for name, tracker in trackers.items():
            _works(name, tracker.finish)


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
    if name == "tensorboard" and find_spec(name) is None:
        raise missing("--track tensorboard", name, "train")
    if name in TRACKERS and find_spec(name) is None:
        raise ImportError(f"--track {name} needs {name}: pip install {name}")
    return LOGGER_TYPE_TO_CLASS[name]


def _started(kind: Any, name: str, folder: Path, settings: Settings) -> Any:
    """A tracker of the run in ``folder``."""
    title, project = folder.resolve().name, PROJECT
    options: dict[str, Any] = {}
    if kind.requires_logging_directory:
        options["logging_dir"] = str(folder)
    if name == "tensorboard":
        project = TENSORBOARD
    elif name == "wandb":
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        options |= {"name": title, "dir": str(folder)}
    elif name == "mlflow":
        options |= {"run_name": title, "nested_run": True}
    tracker = kind(project, **options)
    if hasattr(tracker, "start"):  # older versions of accelerate have none
        tracker.start()
    plain = (bool, int, float, str)  # the types that every tracker takes
    tracker.store_init_configuration(
        {n: v if isinstance(v, plain) else str(v) for n, v in settings.to_json().items()}
    )
    return tracker


def _works(name: str, call: Callable[[], object]) -> bool:
    """Call a tracker; where it fails, warn rather than end the run, which is worth more."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - of any library
        logger.warning("%s failed (%s); the run goes on without it", name, first_line(error))
        return False
    return True


def _numbers(series: str, row: Any) -> dict[str, float]:
    """The finite numbers of a row and of mappings in it, by ``series/name``."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        found |= value if isinstance(value, Mapping) else {field.name: value}
    return {
        f"{series}/{name}": value
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }

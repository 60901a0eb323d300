"""What searches and scalings share: the code and the machine that they measure with."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from asvit.core.shared_settings import MeasuringSettings
from asvit.data.fractals import DEFAULT_CLASSES
from asvit.data.sources import class_count
from asvit.executors import Workers
from asvit.executors.placement import cluster_of, device_of
from asvit.measuring.timing import timed_on
from proxies import PROXIES
from proxies.evaluation import resolve_device

#: Key under which a run that times networks stores what it times them on.
TIMED_ON = "timed_on"


def are_times(measures: Iterable[str], device: str, workers: Workers | None) -> bool:
    """Whether any of the measures is a time that this machine takes.

    GPUs of a cluster take it there; their models are stored anyway.
    """
    timed = any(name in PROXIES and PROXIES[name].timed for name in measures)
    return timed and not (cluster_of(workers) and device_of(device, workers) == "cuda")


def timing(s: Any, measures: Iterable[str], workers: Workers | None) -> Mapping[str, str]:
    """What all sessions time networks on, where a measure or a limit is a time of this machine."""
    limited = getattr(s, "max_latency", None) is not None or getattr(s, "timed", False)
    here = limited and s.latency_command is None
    if here or are_times(measures, s.device, workers):
        return {TIMED_ON: timed_on(resolve_device(s.device))}
    return {}


def training_command(folder: Path, s: Any) -> str:
    """The command that trains the architecture of the run in ``folder``, on the same images.

    Images without classes, such as noise, cannot be trained on. Fractals have as many classes as
    sizes were counted with.
    """
    words, usual = ["asvit", "train", str(folder)], MeasuringSettings()
    values = {name: getattr(s, name) for name in ("data", "image_size", "seed", "device")}
    with suppress(ImportError, OSError, ValueError):  # the training says what is wrong
        if class_count(values["data"]) is None:
            values["data"] = usual.data
    for name, value in values.items():
        if value != getattr(usual, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    if values["data"] == usual.data and s.classes != DEFAULT_CLASSES:
        words += ["--classes", str(s.classes)]
    return shlex.join(words)

"""What searches and scalings share: the code and the machine that they measure with."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from asvit.core.continuing import check_same_device
from asvit.core.measuring_settings import MeasuringSettings
from asvit.data.fractals import DEFAULT_CLASSES
from asvit.data.sources import class_count
from asvit.executors import Workers
from asvit.executors.placement import cluster_of, device_of
from asvit.measuring.timing import timed_on
from asvit.runs.measuring_run import MeasuringRun
from asvit.runs.run import J, R, S, imported
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


def with_timing(versions: Mapping[str, str], folder: Path, device: str) -> Mapping[str, str]:
    """The versions that a run goes on with, and what all its sessions time networks on.

    Raises:
        ValueError: If it is another processor, number of threads or accelerator than before.
    """
    here = timed_on(resolve_device(device))
    check_same_device(folder, versions.get(TIMED_ON), here)
    return {**versions, TIMED_ON: here}


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


class MeasuringAlgorithm(MeasuringRun[S, R, J]):
    """A run that measures, and whose measures a reference table can judge."""

    # Imports SciPy, which a run does without until it ends.
    _stored_reliability = imported("asvit.reference.query:stored_reliability")

    @property
    def judged(self) -> bool:
        """Whether a reference table judges the measures of this run."""
        return True

    @property
    def measures(self) -> Sequence[str]:
        """What is measured; a search by trainings names the accuracy, which is no measure."""
        return getattr(self.settings, "proxies", ())

    @property
    def training_command(self) -> str:
        """The command that trains the architecture of the run, on the images it was measured on.

        Images without classes, such as noise, cannot be trained on. Fractals have as many classes
        as sizes were counted with.
        """
        words, usual = ["asvit", "train", str(self.folder)], MeasuringSettings()
        s: Any = self.settings
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

    def versions(self, stored: Mapping[str, str] | None) -> Mapping[str, str]:
        """As the base does, with the processor that times are taken on.

        Raises:
            ValueError: As :func:`with_timing`.
        """
        current = super().versions(stored)
        device = cast("Any", self.settings).device
        if self._times_here or are_times(self.measures, device, self.workers):
            return with_timing(current, self.folder, device)
        return current

    @property
    def _times_here(self) -> bool:
        """Whether a limit of this run is a time, which this machine takes."""
        s = cast("Any", self.settings)
        limited = getattr(s, "max_latency", None) is not None or getattr(s, "timed", False)
        return bool(limited and s.latency_command is None)

    def conclude(self, store: J, result: R) -> R:
        """Tell how well the measures rank a bundled table."""
        judged: Any = result
        if not self.judged or judged.reliability or not result.provenance.get("images"):
            return result  # a function of the caller has no images
        stored = self._stored_reliability(self.judge, self.measures)
        return cast("R", replace(judged, reliability=stored))

"""What algorithms share that measure or time networks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from asvit.architectures.base import Growable
from asvit.core.shared_settings import MeasuringSettings, pass_options
from asvit.data.fractals import DEFAULT_CLASSES
from asvit.data.sources import class_count
from asvit.executors import Workers
from asvit.executors.placement import cluster_of, device_of
from asvit.measuring.latency import Latency, Timed
from asvit.measuring.timing import timed_on
from asvit.runs.run_folder import RunFolder
from asvit.runs.timing import fresh_latency, latency
from asvit.spaces import SearchSpace, UnionSpace, load_space
from proxies import PROXIES
from proxies.evaluation import resolve_device


def find_space(name: str, *, image_size: int, width: int | None = None) -> SearchSpace:
    """The space called ``name``, all of whose choices fit ``image_size``, and the width if any."""
    space = load_space(name)
    if isinstance(space, UnionSpace):
        for member in space.members:
            find_space(member, image_size=image_size, width=width)
        return space
    longest = max(len(choices) for choices in space.dimensions.values())
    # Every choice of every dimension is in one of these architectures. Choices ascend, and the
    # largest splits ask the most of an image: sizes that suit them suit all others.
    for place in reversed(range(longest)):
        choice = {
            dimension: choices[min(place, len(choices) - 1)]
            for dimension, choices in space.dimensions.items()
        }
        arch = space.decode(choice)
        if width is not None and isinstance(arch, Growable):
            arch = arch.with_(width=width)
        space.check(arch, image_size)
    return space


def timing(s: Any, measures: Iterable[str], workers: Workers | None) -> Mapping[str, str]:
    """What all sessions time networks on, where a measure or a limit is a time of this machine.

    GPUs of a cluster take measures there; their models are stored anyway.
    """
    limited = getattr(s, "max_latency", None) is not None or getattr(s, "timed", False)
    here = limited and s.latency_command is None
    measured = any(name in PROXIES and PROXIES[name].timed for name in measures)
    if measured and not here:
        here = not (cluster_of(workers) and device_of(s.device, workers) == "cuda")
    return {"timed_on": timed_on(resolve_device(s.device))} if here else {}


class NetworkTimes:
    """Latencies of networks, each timed once in the life of a run, as its settings say."""

    def __init__(
        self, run: RunFolder[Any, Any], s: Any, *, image_size: int, classes: int, channels: int
    ) -> None:
        self._run = run
        self._known = {(one.architecture, one.again): one.latency for one in run.of(Timed)}
        self._pass: Mapping[str, Any] = {
            "image_size": image_size,
            "num_classes": classes,
            "in_chans": channels,
            **pass_options(s),
        }

    def milliseconds(self, network: object) -> float:
        """Time of a pass of an architecture or its text."""
        return self._latency(str(network), again=False).milliseconds

    def again(self, network: object) -> Latency:
        """The latency of a network that was chosen, timed in a process of its own."""
        return self._latency(str(network), again=True)

    def _latency(self, text: str, *, again: bool) -> Latency:
        if (text, again) not in self._known:
            taken = fresh_latency(text, **self._pass) if again else latency(text, **self._pass)
            self._known[text, again] = taken
            self._run.add(Timed(text, taken, again))
        return self._known[text, again]


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

"""Measures networks in a worker process: what a worker is sent, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from asvit.executors import Work, one_thread
from asvit.spaces import SearchSpace, build, cost
from asvit.spaces.architectures import known_space
from asvit.spaces.base import Architecture
from proxies import Cost, measure_repeats
from proxies.evaluation import FAILURES
from proxies.messages import fault, out_of_memory


@dataclass(frozen=True)
class MeasuringContext:
    """What workers need in order to measure."""

    arguments: Mapping[int, Mapping[str, Any]]  # of an ``EvalContext``, by the side of images
    space: str | None = None  # of the architectures; of any without it
    num_classes: int = 1000
    # Measures, and texts of some architectures, that workers have to know.
    names: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeasurementTask:
    """Some of the repeats and measures of one network."""

    architecture: str
    names: Sequence[str]
    key: str  # seeds its initial weights, beside the run's seed and the repeat
    side: int  # of the images, in pixels
    only: Sequence[int]  # repeats
    counted: bool  # whether to count its parameters and multiply-adds, too
    other: Mapping[str, int]  # seed and repeats, unless the run's


@dataclass(frozen=True)
class TaskMeasured:
    """The outcome of such a task."""

    readings: Mapping[int, Mapping[str, float | str]]  # values, or why there is none, by repeat
    repeats: int  # of the whole network
    size: Cost | str | None  # or why it cannot be counted; None where nobody asked


def measuring_work(context: MeasuringContext) -> Work:
    """The work of processes that measure; images on a device are sent from the memory."""
    arguments = {
        side: {**one, "images": one["images"].cpu()} for side, one in context.arguments.items()
    }
    return Work(
        "asvit.runs.measurement_worker:MeasurementWorker", replace(context, arguments=arguments)
    )


class MeasurementWorker:
    """Measures some of the repeats of one network; made and called as executors do it."""

    def __init__(self, context: MeasuringContext, device: str) -> None:
        self._space = known_space(context.space, context.names, context.architectures)
        self._num_classes = context.num_classes
        self._device = device
        self._arguments: dict[int, dict[str, Any]] = {}
        for side, arguments in context.arguments.items():
            there = {
                name: value.to(device)
                for name, value in arguments.items()
                if isinstance(value, torch.Tensor)
            }
            self._arguments[side] = {**arguments, **there, "device": device}

    def __call__(self, task: MeasurementTask) -> TaskMeasured:
        """Measure what the task asks for; MemoryError where there is not enough for it."""
        arguments = {**self._arguments[task.side], **task.other}
        text, side, in_chans = task.architecture, task.side, arguments["images"].shape[1]
        with one_thread(self._device):
            readings = measure_repeats(
                lambda: network(
                    text, side, self._num_classes, in_chans=in_chans, space=self._space
                ),
                task.names,
                key=task.key,
                only=task.only,
                **arguments,
            )
        for values in readings.values():
            for what in values.values():
                if isinstance(what, str) and out_of_memory(what):
                    raise MemoryError(what)
        size = counted(text, side, in_chans=in_chans) if task.counted else None
        return TaskMeasured(readings, arguments["repeats"], size)


def counted(
    arch: Architecture | str, side: int, num_classes: int = 1000, *, in_chans: int
) -> Cost | str:
    """Parameters and multiply-adds of an architecture, or why they cannot be counted."""
    try:
        return cost(arch, side, num_classes, in_chans=in_chans)
    except MemoryError:
        raise
    except FAILURES as error:
        return fault(error)


def network(
    arch: Architecture | str,
    side: int,
    num_classes: int,
    *,
    in_chans: int,
    space: SearchSpace | None = None,
) -> torch.nn.Module:
    """The freshly initialised network of an architecture: of a space, or of any unless given."""
    if space is None:
        return build(arch, side, num_classes, in_chans=in_chans)
    sizes: Any = {"image_size": side, "num_classes": num_classes, "in_chans": in_chans}
    return space.build(space.read(arch), **sizes)

"""Measures networks in a worker process: what a worker is sent, and what it answers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asvit.executors import Task, Work, one_thread
from asvit.spaces import SearchSpace, build, cost
from asvit.spaces.architectures import known_space
from asvit.spaces.base import Architecture
from proxies import Cost, measure_repeats
from proxies.evaluation import FAILURES
from proxies.messages import fault, out_of_memory


def measuring_work(
    arguments: Mapping[int, Mapping[str, Any]],
    *,
    space: str | None = None,
    num_classes: int = 1000,
    names: Iterable[str] = (),
    architectures: Iterable[str] = (),
) -> Work:
    """What workers need in order to measure.

    ``arguments`` is from the side of images to those of an ``EvalContext``. Architectures are of
    ``space``, or of any. ``names`` are measures, and ``architectures`` texts of some, that workers
    have to know.
    """
    arrays = {}
    for side, context in arguments.items():
        arrays[f"images {side}"] = context["images"].cpu().numpy()
        if context["labels"] is not None:
            arrays[f"labels {side}"] = context["labels"].numpy()
    shared = next(iter(arguments.values()))
    settings = {name: shared[name] for name in ("repeats", "seed", "points", "radius")}
    return Work(
        "asvit.runs.measurement_worker:MeasurementWorker",
        {
            "space": space,
            "num_classes": num_classes,
            "names": list(names),
            "architectures": list(architectures),
            "measuring": settings,
        },
        arrays,
    )


class MeasurementWorker:
    """Measures some of the repeats of one network; made and called as executors do it."""

    def __init__(
        self, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]], device: str
    ) -> None:
        known = settings["names"], settings["architectures"]
        self._space = known_space(settings["space"], *known)
        self._num_classes = settings["num_classes"]
        self._measuring = settings["measuring"]
        self._device = device
        self._arrays = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}

    def __call__(self, task: Task) -> dict[str, Any]:
        """Measure what the task asks for; MemoryError where there is not enough for it."""
        text, side = task["architecture"], task["side"]
        images = self._arrays[f"images {side}"]
        in_chans = images.shape[1]
        with one_thread(self._device):
            settings = {**self._measuring, **task["other"]}
            readings = measure_repeats(
                lambda: network(
                    text, side, self._num_classes, in_chans=in_chans, space=self._space
                ),
                task["names"],
                key=task["key"],
                only=task["only"],
                image_size=side,
                images=images,
                labels=self._arrays.get(f"labels {side}"),
                device=self._device,
                **settings,
            )
        for values in readings.values():
            for what in values.values():
                if isinstance(what, str) and out_of_memory(what):
                    raise MemoryError(what)
        size = counted(text, side, in_chans=in_chans) if task["counted"] else None
        return {
            "repeats": settings["repeats"],
            "readings": {str(repeat): values for repeat, values in readings.items()},
            "cost": [size.params, size.macs] if isinstance(size, Cost) else None,
            "uncounted": size if isinstance(size, str) else "",
        }


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

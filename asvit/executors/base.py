"""What executors share: the work, a task, its answer, and who is asked to do it."""

from __future__ import annotations

import math
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from asvit.executors.threads import workers_that_fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Task = Mapping[str, Any]  # of the types of JSON
Worker = Callable[[Task], Any]  # a task to its result, of the types of JSON

RETRIES = 2
WORTHWHILE_SECONDS = 60.0  # of work, below which workers are not started of our own accord


@dataclass(frozen=True)
class Workers:
    """Who does the work of a run; never a part of its settings, as results do not depend on it.

    Attributes:
        jobs: Workers at the same time, 1 for this very process; None for as many as seem good,
            on Ray as many as the cluster has room for.
        ray: Address of a Ray cluster, ``"auto"`` for the one that is running here; None for
            processes of this machine.
        timeout: Seconds after which a task is taken from its worker; None for never.
        retries: Times a task is tried again after its worker died, hung or ran out of memory.

    Raises:
        ValueError: If a number is out of its range.
    """

    jobs: int | None = None
    ray: str | None = None
    timeout: float | None = None
    retries: int = RETRIES

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"jobs={self.jobs}; use at least 1")
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise ValueError(f"timeout={self.timeout}; use a number of seconds above 0")
        if self.retries < 0:
            raise ValueError(f"retries={self.retries}; use 0 or more")

    @property
    def here(self) -> bool:
        """Whether this very process does the work: nothing asks for another one."""
        return self.jobs == 1 and self.ray is None and self.timeout is None

    def settled(self, device: str, *, tasks: int, seconds: float, gigabytes: float) -> Workers:
        """The same with a number of jobs, unless that is up to a cluster.

        Of our own accord there is a worker for each core if the work is long enough to be worth
        their start, and memory enough for all; on an accelerator there is one.

        Args:
            device: Where they compute.
            tasks: Tasks that there are at the same time.
            seconds: What all of the work may take on one core.
            gigabytes: Memory that a worker may need.
        """
        if self.jobs is not None or self.ray is not None:
            return self
        worth = device == "cpu" and seconds >= WORTHWHILE_SECONDS
        return replace(self, jobs=min(tasks, workers_that_fit(gigabytes)) if worth else 1)


@dataclass(frozen=True)
class Work:
    """What a worker is made of, before its first task.

    Attributes:
        factory: ``"package.module:name"`` of what makes a worker from the settings, the arrays
            and a device. A ``ValueError`` or ``OSError`` of it ends the run.
        settings: Of the types of JSON.
        arrays: What does not go into JSON, such as images.
    """

    factory: str
    settings: Mapping[str, Any]
    arrays: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def worker(self, device: str) -> Worker:
        """A worker that computes on ``device``, in a process that is there for nothing else."""
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.")  # torch's own, on forward mode
        module, _, name = self.factory.partition(":")
        worker: Worker = getattr(import_module(module), name)(self.settings, self.arrays, device)
        return worker


@dataclass(frozen=True)
class Answer:
    """What came of a task.

    Attributes:
        result: What the worker gave; None if it gave nothing.
        failure: Why there is no result; empty if there is one.
    """

    result: Any = None
    failure: str = ""


def perform(worker: Worker, task: Task) -> dict[str, Any]:
    """What a worker's side tells of a task: its ``result``, or ``memory`` or ``bug``."""
    try:
        return {"result": worker(task)}
    except MemoryError as error:
        return {"memory": str(error) or "out of memory"}
    except Exception:  # noqa: BLE001  it is raised again where the run is
        return {"bug": traceback.format_exc()}

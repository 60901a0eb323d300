"""Networks measured by workers: what is sent to one, and how its answers become scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asvit.executors import Pool, Task, Work, one_thread
from asvit.spaces import SearchSpace, build, cost, load_space
from proxies import Cost, Readings, Score, combine, get_proxy, measure_repeats
from proxies.registry import UnknownNameError

_NO_MEMORY = ("out of memory", "can't allocate memory")  # as torch says it


@dataclass(frozen=True)
class Order:
    """A network to be measured.

    Attributes:
        architecture: Its text.
        names: Measures to take.
        key: What its initial weights are seeded by, beside the run's seed and the repeat.
        side: Side of the images in pixels.
        counted: Whether its parameters and multiply-adds are wanted, too.
    """

    architecture: str
    names: tuple[str, ...]
    key: str
    side: int
    counted: bool = False


@dataclass(frozen=True)
class Measured:
    """What came of an order.

    Attributes:
        scores: Measure to its score; all failed, with the reason, if the workers did.
        cost: Of the network, if it was wanted and the workers did not fail.
    """

    scores: Mapping[str, Score]
    cost: Cost | None = None


def measuring_work(
    arguments: Mapping[int, Mapping[str, Any]],
    *,
    space: str | None = None,
    num_classes: int = 1000,
) -> Work:
    """What workers need in order to measure.

    Args:
        arguments: Side of the images to what :func:`proxies.measure` takes with it, as
            :class:`asvit.runs.evaluator.Bench` has it.
        space: Space of the architectures; any unless given.
        num_classes: Classes of the networks.
    """
    arrays = {}
    for side, given in arguments.items():
        arrays[f"images {side}"] = given["images"].cpu().numpy()
        if given["labels"] is not None:
            arrays[f"labels {side}"] = given["labels"].numpy()
    shared = next(iter(arguments.values()))
    settings = {name: shared[name] for name in ("repeats", "seed", "points", "radius")}
    return Work(
        "asvit.runs.measuring:MeasuringWorker",
        {"space": space, "num_classes": num_classes, "measuring": settings},
        arrays,
    )


class MeasuringWorker:
    """Takes some of the repeats of one network; made and called as executors do it."""

    def __init__(
        self, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]], device: str
    ) -> None:
        self._space = _space(settings["space"])
        self._num_classes = settings["num_classes"]
        self._measuring = settings["measuring"]
        self._device = device
        self._arrays = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}

    def __call__(self, task: Task) -> dict[str, Any]:
        """Measure what the task asks for.

        Raises:
            MemoryError: If there was not enough memory for it.
        """
        text, side = task["architecture"], task["side"]
        with one_thread(self._device):
            readings = measure_repeats(
                lambda: network(text, side, self._num_classes, space=self._space),
                task["names"],
                key=task["key"],
                only=task["only"],
                image_size=side,
                images=self._arrays[f"images {side}"],
                labels=self._arrays.get(f"labels {side}"),
                device=self._device,
                together=takes_all(self._device),
                **self._measuring,
            )
        for found in readings.taken.values():
            for what in found.values():
                if isinstance(what, str) and any(words in what for words in _NO_MEMORY):
                    raise MemoryError(what)
        size = cost(text, image_size=side) if task["counted"] else None
        return {
            "readings": readings.to_json(),
            "cost": None if size is None else [size.params, size.macs],
        }


def network(
    text: str, side: int, num_classes: int, *, space: SearchSpace | None = None
) -> torch.nn.Module:
    """The network of a text, freshly initialised: of a space, or of any unless given."""
    if space is None:
        return build(text, side, num_classes)
    return space.build(space.parse(text), image_size=side, num_classes=num_classes)


def takes_all(device: str) -> bool:
    """Whether repeats are taken in one pass: small networks leave an accelerator idle."""
    return device != "cpu"


def failed(names: Sequence[str], why: str) -> dict[str, Score]:
    """Scores of measures that could not be taken."""
    return {name: Score(math.nan, math.nan, (), get_proxy(name).better, why) for name in names}


def _space(name: str | None) -> SearchSpace | None:
    """The space called ``name``, which was made known to this process, too.

    Raises:
        ValueError: If it was not.
    """
    try:
        return None if name is None else load_space(name)
    except UnknownNameError as error:
        raise ValueError(f"a worker does not know what this process does: {error}") from error


def measure_all(
    pool: Pool, orders: Sequence[Order], *, repeats: int, whole: bool
) -> Iterator[tuple[int, Measured]]:
    """Have workers measure networks.

    Args:
        pool: Workers made by :func:`measuring_work`.
        orders: What to measure.
        repeats: Freshly initialised networks each value is averaged over.
        whole: Whether a worker takes all repeats of a network, rather than one at a time.

    Yields:
        The place of each order in ``orders`` with what came of it, as they end.
    """
    tasks: list[dict[str, Any]] = []
    owners: list[int] = []
    parts: list[_Parts] = []
    for number, order in enumerate(orders):
        portions = _portions(order, repeats, whole=whole)
        parts.append(_Parts(order, len(portions)))
        for only in portions:
            tasks.append(
                {
                    "architecture": order.architecture,
                    "names": order.names,
                    "key": order.key,
                    "side": order.side,
                    "only": only,
                    "counted": order.counted and 0 in only,
                }
            )
            owners.append(number)
    with closing(pool.run(tasks)) as answers:
        for task, answer in answers:
            number = owners[task]
            parts[number].take(answer.result, answer.failure)
            if parts[number].missing == 0:
                yield number, parts[number].measured()


def in_order(measured: Iterator[tuple[int, Measured]]) -> Iterator[Measured]:
    """What came of orders in their order; what ended early is held back."""
    held: dict[int, Measured] = {}
    due = 0
    for number, one in measured:
        held[number] = one
        while due in held:
            yield held.pop(due)
            due += 1


def _portions(order: Order, repeats: int, *, whole: bool) -> list[list[int]]:
    """The repeats that go to a worker together."""
    if not any(get_proxy(name).random for name in order.names):
        return [[0]]
    everything = list(range(repeats))
    return [everything] if whole else [[repeat] for repeat in everything]


class _Parts:
    """The answers to one order.

    Attributes:
        missing: How many are not there yet.
    """

    def __init__(self, order: Order, count: int) -> None:
        self.missing = count
        self._order = order
        self._readings: list[Readings] = []
        self._cost: Cost | None = None
        self._failure = ""

    def take(self, result: Mapping[str, Any] | None, failure: str) -> None:
        """Take in one more."""
        self.missing -= 1
        if result is None:
            self._failure = failure
            return
        self._readings.append(Readings.from_json(result["readings"]))
        if result["cost"] is not None:
            self._cost = Cost(*result["cost"])

    def measured(self) -> Measured:
        """All of them together."""
        if self._failure:
            return Measured(failed(self._order.names, self._failure), self._cost)
        return Measured(combine(self._readings), self._cost)

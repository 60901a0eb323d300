"""Whoever measures the networks of a run: this process, or workers that it starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from asvit.executors import Pool, Workers, one_thread, open_pool
from asvit.runs.measuring import (
    Measured,
    Order,
    failed,
    measure_all,
    measuring_work,
    network,
    takes_all,
)
from asvit.spaces import SearchSpace, cost
from proxies import measure

_PIXELS_A_SECOND = 50_000  # of an image, measured with the default measures on one core, roughly


class Measuring(Protocol):
    """What networks of one image size are measured on."""

    @property
    def device(self) -> str:
        """Where."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What :func:`proxies.measure` takes beside the network, the measures and the key."""


@dataclass(frozen=True)
class Load:
    """What a run has to measure.

    Attributes:
        networks: Architectures, about.
        at_once: How many are asked for together.
        gigabytes: Memory that measuring one of them may need.
    """

    networks: int
    at_once: int
    gigabytes: float


class Crew:
    """Measures networks by their texts; values do not depend on who does it.

    Args:
        benches: Side of the images to what networks are measured on.
        workers: Who measures; as many processes as seem good unless given.
        load: What there is to measure, as far as it decides on that.
        space: Space of the architectures; any unless given.
        num_classes: Classes of the networks.

    Attributes:
        workers: Who measures, once that is settled.
    """

    def __init__(
        self,
        benches: Mapping[int, Measuring],
        workers: Workers | None,
        load: Load,
        *,
        space: SearchSpace | None = None,
        num_classes: int = 1000,
    ) -> None:
        self._benches = benches
        bench = next(iter(benches.values()))  # but for the images they are alike
        self._device, self._repeats = bench.device, bench.arguments["repeats"]
        self.workers = (workers or Workers()).resolved(
            self._device,
            tasks=load.at_once * self._repeats,
            seconds=load.networks * self._repeats * max(benches) ** 2 / _PIXELS_A_SECOND,
            gigabytes=load.gigabytes,
        )
        self._space = space
        self._num_classes = num_classes
        self._pool: Pool | None = None
        self._stack = ExitStack()

    def open(self) -> None:
        """Find out whether there can be workers, before it is their turn.

        Raises:
            ImportError: If Ray is asked for and not installed.
            ConnectionError: If there is no cluster at the address.
        """
        if not self.workers.in_process:
            self._opened()

    def close(self) -> None:
        """Let the workers go."""
        self._stack.close()
        self._pool = None

    def measure(self, orders: Sequence[Order]) -> Iterator[tuple[int, Measured]]:
        """Measure networks, one after another or side by side.

        Yields:
            The place of each order in ``orders`` with what came of it, as they end.
        """
        if not orders:
            return
        if self.workers.in_process:
            yield from ((number, self._measure(order)) for number, order in enumerate(orders))
            return
        whole = takes_all(self._device)
        yield from measure_all(self._opened(), orders, repeats=self._repeats, whole=whole)

    def _opened(self) -> Pool:
        """The workers, started when there is something to do for the first time."""
        if self._pool is None:
            work = measuring_work(
                {side: bench.arguments for side, bench in self._benches.items()},
                space=None if self._space is None else self._space.name,
                num_classes=self._num_classes,
            )
            self._pool = self._stack.enter_context(open_pool(self.workers, work, self._device))
        return self._pool

    def _measure(self, order: Order) -> Measured:
        """Measure one network in this process."""
        text, side = order.architecture, order.side
        try:
            with one_thread(self._device):
                scores = measure(
                    lambda: network(text, side, self._num_classes, space=self._space),
                    order.names,
                    key=order.key,
                    together=takes_all(self._device),
                    **self._benches[side].arguments,
                )
        except MemoryError as error:
            return Measured(failed(order.names, str(error) or "out of memory"))
        return Measured(scores, cost(text, image_size=side) if order.counted else None)

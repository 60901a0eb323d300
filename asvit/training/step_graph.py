"""A training step as a CUDA graph, where steps are alike: captured once, replayed in one launch.

Where kernels are small, a device mostly waits for the CPU that launches them one by one.
"""

import logging
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from proxies.messages import first_line

T = TypeVar("T")

logger = logging.getLogger(__name__)

BEFORE_CAPTURE = 3  # steps in which libraries set up what they need
FEWEST = 20  # steps of a training; of fewer, capturing one takes longer than it saves

_MARGIN = 4  # times the memory that was taken, which holds a step, must be free for another
_NUMBERS = (bool, int, float, str)  # and words
_WAITED = "synchronizing CUDA operation"  # PyTorch's own words


class _Graph(NamedTuple):
    """A captured step, and the tensors that it reads and writes."""

    replay: Callable[[], None]
    batch: Sequence[Tensor]
    rates: Sequence[Tensor]  # the learning rate of each parameter group
    loss: Tensor


class StepGraph:
    """A training step: on a CPU a function, on CUDA after a few steps a graph of it.

    ``take`` takes a step on a batch, returns its loss, and leaves no gradients. Steps are replayed
    in :meth:`running`. Until :meth:`close` the graph keeps the memory of a step.

    Steps are not captured in a short training, with an optimiser of several kernels (its Python
    may compute what changes from step to step), where a step does what a graph would not repeat,
    where little memory is free, or where capturing fails. What else a network does in Python is
    not repeated.
    """

    def __init__(
        self,
        take: Callable[..., Tensor],
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        steps: int,
        device: torch.device,
    ) -> None:
        self._take, self._network, self._optimizer = take, network, optimizer
        self._device = device
        fused = all(group.get("fused") for group in optimizer.param_groups)
        self._cuda: Any = _functions(device) if fused and steps >= FEWEST else None
        self._graph: _Graph | None = None
        self.forget()

    def forget(self) -> None:
        """Capture a step anew, as the network or the optimiser's state is another one."""
        self.close()  # else its memory would count as taken when the next one is captured
        self._left = 0 if self._cuda is None else BEFORE_CAPTURE  # steps until the capture

    def close(self) -> None:
        """Give the memory of the graph back."""
        if self._graph is not None:
            self._graph = None
            self._cuda.empty_cache()
        self._left = 0

    def running(self) -> AbstractContextManager[None]:
        """Beside the usual stream, if steps are captured; anything else is on the usual one."""
        return nullcontext() if self._cuda is None else beside(self._device, self._cuda)

    def __call__(self, *batch: Tensor) -> Tensor:
        """Take a step on a batch, which is on the device; returns its loss, without a graph."""
        graph = self._graph
        if graph is not None and _alike(batch, graph.batch):
            for own, new in zip(graph.batch, batch, strict=True):
                own.copy_(new)
            for rate, group in zip(graph.rates, self._optimizer.param_groups, strict=True):
                rate.fill_(group["lr"])
            graph.replay()
            return graph.loss.clone()  # the next replay overwrites it
        if self._left != 1:
            self._left = max(0, self._left - 1)
            return self._take(*batch).detach()
        self._left = 0
        loss, obstacle = self._observed(batch)
        self._capture(batch, obstacle)
        return loss

    def _observed(self, batch: Sequence[Tensor]) -> tuple[Tensor, str]:
        """Take a step; returns its loss, and what hinders capturing one, or nothing."""
        draws, numbers, tensors = _draws(), self._values(_NUMBERS), self._values(Tensor)
        loss, waits = counting_waits(lambda: self._take(*batch).detach(), self._cuda)
        now = self._values(Tensor)
        replaced = now.keys() != tensors.keys() or any(now[x] is not y for x, y in tensors.items())
        scarce = self._cuda.mem_get_info()[0] < _MARGIN * self._cuda.memory_reserved()
        obstacles = {
            "a step waits for the device": bool(waits),
            "a step draws random numbers on the CPU": _draws() != draws,
            "a step changes numbers of the network": self._values(_NUMBERS) != numbers,
            "a step replaces tensors of the network": replaced,
            "too little memory is free": scarce,
        }
        return loss, next((what for what, there in obstacles.items() if there), "")

    def _values(self, kinds: Any) -> dict[tuple[str, str], object]:
        """What parts of the network have of some kinds, beside parameters, by part and name."""
        return {
            (path, name): value
            for path, part in self._network.named_modules()
            for name, value in (*vars(part).items(), *part._buffers.items())
            if isinstance(value, kinds)
        }

    def _capture(self, batch: Sequence[Tensor], obstacle: str) -> None:
        """Capture a step, if nothing hinders it."""
        groups = self._optimizer.param_groups
        numbers = [group["lr"] for group in groups]
        try:
            if obstacle:
                raise RuntimeError(obstacle)
            batch = [one.clone() for one in batch]
            # A replay reads tensors; numbers would stay as they are.
            rates = [batch[0].new_full((), rate, dtype=torch.float32) for rate in numbers]
            _set_rates(groups, rates, capturable=True)
            losses: list[Tensor] = []

            def step() -> None:
                losses.append(self._take(*batch).detach())

            self._graph = _Graph(capture(step, self._cuda), batch, rates, losses[0])
        except RuntimeError as error:
            self._optimizer.zero_grad()  # of a part of the step, without values
            logger.debug("steps are not captured as a CUDA graph: %s", first_line(error))
        finally:
            _set_rates(groups, numbers, capturable=False)  # torch warns of it in other steps


@contextmanager
def beside(device: torch.device, cuda: Any = torch.cuda) -> Iterator[None]:
    """Work on another stream than the usual one, on which nothing can be captured.

    The usual one waits for it at the end. What is captured is to be called here before, as
    backward passes stay on the stream on which they began.
    """
    with cuda.device(device):
        other, usual = _other_stream(cuda, cuda.current_device()), cuda.current_stream()
        other.wait_stream(usual)
        try:
            with cuda.stream(other):
                yield
        finally:
            usual.wait_stream(other)


@cache
def _other_stream(cuda: Any, device: int) -> Any:
    """The same at each call: torch keeps the memory of a stream for that stream alone."""
    return cuda.Stream(device)


def capture(run: Callable[[], object], cuda: Any = torch.cuda) -> Callable[[], None]:
    """``run`` as a CUDA graph, which a call replays; captured :func:`beside` the usual stream.

    Capturing computes nothing. A replay repeats the operations on the same tensors, with new
    random numbers of the device. The memory that ``run`` took belongs to the graph.
    """
    graph = cuda.CUDAGraph()
    generator = cuda.default_generators[cuda.current_device()]
    as_it_was = generator.clone_state()
    try:
        # Other threads may allocate memory meanwhile.
        with cuda.graph(graph, stream=cuda.current_stream(), capture_error_mode="thread_local"):
            run()
    except BaseException:
        # Some versions of PyTorch leave the generator in a capture that failed, and it then
        # refuses to draw.
        generator.graphsafe_set_state(as_it_was)
        raise
    replay: Callable[[], None] = graph.replay
    return replay


def counting_waits(function: Callable[[], T], cuda: Any = torch.cuda) -> tuple[T, int]:
    """Call a function; returns its result, and how often the host waited for the device in it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = cuda.get_sync_debug_mode()
        cuda.set_sync_debug_mode("warn")
        try:
            result = function()
        finally:
            cuda.set_sync_debug_mode(before)
    return result, sum(_WAITED in str(one.message) for one in caught)


def _functions(device: torch.device) -> Any:
    return torch.cuda if device.type == "cuda" else None


def _alike(batch: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return [(x.shape, x.dtype) for x in batch] == [(x.shape, x.dtype) for x in other]


def _set_rates(groups: Any, rates: Sequence[Any], *, capturable: bool) -> None:
    """Give each parameter group its learning rate, and where it has one the other setting."""
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
        if "capturable" in group:
            group["capturable"] = capturable


def _draws() -> tuple[object, ...]:
    """The states of the random numbers that a network could draw on the CPU."""
    _, keys, *rest = cast("tuple[Any, ...]", np.random.get_state())  # noqa: NPY002
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), bytes(keys), rest

"""A training step as a CUDA graph, where steps are alike."""

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from asvit.training.cuda_graphs import BEFORE_CAPTURE, beside, capture, counting_waits
from proxies.messages import first_line

logger = logging.getLogger(__name__)

_MARGIN = 4  # times the memory that was taken, which holds a step, must be free for another
_NUMBERS = (bool, int, float, str)  # and words
FEWEST = 20  # steps of a training; of fewer, capturing one takes longer than it saves


class _Graph(NamedTuple):
    """A captured step, and the tensors that it reads and writes."""

    replay: Callable[[], None]
    batch: Sequence[Tensor]
    rates: Sequence[Tensor]  # the learning rate of each parameter group
    loss: Tensor


class StepGraph:
    """A training step: of the CPU a function, on CUDA after a few steps a graph of it.

    The first steps on CUDA prepare what capturing needs. Then one is captured, and replayed from
    the next one on, in :meth:`running`. Until :meth:`close` the graph keeps the memory of a step.

    Steps are not captured in a short training, with an optimiser of several kernels (its Python
    may compute what changes from step to step), where a step waits for the device, draws random
    numbers on the CPU, changes numbers of the network or replaces tensors of it, as a graph would
    repeat these, where little memory is free, or where capturing fails. They go on as they began.
    What else a network does in Python is not repeated.

    The autocast cache needs no care, as a step enters and leaves autocast itself.

    Example::

        with closing(StepGraph(take, network, optimizer, steps=100, device=device)) as step:
            with step.running():
                for batch in batches:
                    loss = step(*batch)
                    schedule.step()
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
        """Prepare for a training.

        Args:
            take: Takes a step on a batch of tensors; returns its loss. It leaves no gradients.
            network: That is trained.
            optimizer: Its learning rates are numbers, which change between steps.
            steps: How many the training has.
            device: Where it is.
        """
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
        if not self._left:
            return self._take(*batch).detach()
        self._left -= 1
        if self._left:
            return self._take(*batch).detach()
        loss, obstacle = self._observed(batch)
        self._capture(batch, obstacle)
        return loss

    def _observed(self, batch: Sequence[Tensor]) -> tuple[Tensor, str]:
        """Take a step; returns its loss, and what hinders capturing one, or nothing.

        A capture that fails can leave less memory, so those that would are not tried.
        """
        draws, numbers, tensors = _draws(), self._values(_NUMBERS), self._values(Tensor)
        loss, waits = counting_waits(lambda: self._take(*batch).detach(), self._cuda)
        if waits:
            return loss, "a step waits for the device"
        if _draws() != draws:
            return loss, "a step draws random numbers on the CPU"
        if self._values(_NUMBERS) != numbers:
            return loss, "a step changes numbers of the network"
        now = self._values(Tensor)
        if now.keys() != tensors.keys() or any(now[x] is not y for x, y in tensors.items()):
            return loss, "a step replaces tensors of the network"
        if self._cuda.mem_get_info()[0] < _MARGIN * self._cuda.memory_reserved():
            return loss, "too little memory is free"
        return loss, ""

    def _values(self, kinds: Any) -> dict[tuple[str, str], object]:
        """What its parts have of some kinds, beside parameters, by part and name."""
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


def _functions(device: torch.device) -> Any:
    """What torch has for CUDA; None for another device."""
    return torch.cuda if device.type == "cuda" else None


def _alike(batch: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether two batches have the same shapes and types."""
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

"""A training step as a CUDA graph, where steps are alike."""

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from proxies.cuda_graphs import BEFORE_CAPTURE, beside, capture, counting_waits
from proxies.messages import first_line

logger = logging.getLogger(__name__)

T = TypeVar("T")

FEWEST = 20  # steps of a training; of fewer, capturing one takes longer than it saves


class _Graph(NamedTuple):
    """A captured step, and the tensors that it reads and writes."""

    replay: Callable[[], None]
    batch: Sequence[Tensor]
    loss: Tensor


class StepGraph:
    """The two halves of a training step: its loss, and the update; on CUDA one graph.

    :meth:`loss` and :meth:`update` are called in turn. On other devices they call the two given
    functions, and so they do in the first steps on CUDA, which prepare what capturing needs. Then
    a step is captured: from the next one on, :meth:`loss` does the whole step, and :meth:`update`
    nothing.

    Steps are not captured in a short training, where one waits for the device or draws random
    numbers on the CPU, which a graph would repeat, or where capturing fails; they go on as they
    began. What else a network does in Python is not repeated, such as counting its calls.

    The autocast cache needs no care, as a step enters and leaves autocast itself.

    Example::

        with StepGraph(loss_of, update, optimizer, steps=100, device=device) as step:
            for batch in batches:
                loss = step.loss(*batch)
                step.update(loss)
                schedule.step()
    """

    def __init__(
        self,
        loss: Callable[..., Tensor],
        update: Callable[[Tensor], None],
        optimizer: torch.optim.Optimizer,
        *,
        steps: int,
        device: torch.device,
    ) -> None:
        """Prepare for a training.

        Args:
            loss: Of a batch of tensors, with gradients.
            update: Changes the weights by a loss; begins with ``optimizer.zero_grad()``.
            optimizer: A fused one, whose learning rate a schedule of PyTorch's sets.
            steps: How many the training has.
            device: Where it is.
        """
        self._loss, self._update, self._optimizer, self._device = loss, update, optimizer, device
        self._cuda: Any = _functions(device) if steps >= FEWEST else None
        self._left = 0 if self._cuda is None else BEFORE_CAPTURE  # steps until the capture
        self._batch: Sequence[Tensor] = ()  # of the step before the capture
        self._obstacle = ""  # to capturing
        self._graph: _Graph | None = None
        self._replayed = False
        self._context = ExitStack()

    def __enter__(self) -> Self:
        """Leave the usual stream, if steps are to be captured."""
        if self._cuda is not None:
            self._context.enter_context(beside(self._device, self._cuda))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Return to the usual stream, and give the memory of the graph back."""
        self._context.close()
        if self._graph is not None:
            self._optimizer.zero_grad()  # gradients are the graph's
            self._graph = None
            self._cuda.empty_cache()

    def loss(self, *batch: Tensor) -> Tensor:
        """The loss of a batch, which is on the device; of a captured step after its update."""
        graph = self._graph
        self._replayed = graph is not None and _alike(batch, graph.batch)
        if graph is None or not self._replayed:
            if self._left == 1:
                self._batch = batch
            return self._observed(lambda: self._loss(*batch))
        for own, new in zip(graph.batch, batch, strict=True):
            own.copy_(new)
        graph.replay()
        return graph.loss.clone()  # the next replay overwrites it

    def update(self, loss: Tensor) -> None:
        """Change the weights by what :meth:`loss` returned, unless that has done so."""
        if self._replayed:
            return
        self._observed(lambda: self._update(loss))
        if self._left:
            self._left -= 1
            if not self._left:
                self._capture()

    def _observed(self, half: Callable[[], T]) -> T:
        """Run half of a step; in that before the capture, look for what hinders it.

        A capture that fails can leave less memory, so those that would are not tried.
        """
        if self._left != 1:
            return half()
        before = _draws()
        result, waits = counting_waits(half, self._cuda)
        if waits:
            self._obstacle = "a step waits for the device"
        elif _draws() != before:
            self._obstacle = "a step draws random numbers on the CPU"
        return result

    def _capture(self) -> None:
        """Capture a step, if nothing hinders it."""
        batch, self._batch = [one.clone() for one in self._batch], ()
        groups = self._optimizer.param_groups
        rates = [group["lr"] for group in groups]
        try:
            if self._obstacle:
                raise RuntimeError(self._obstacle)
            # Gradients are to be made anew, in the graph's memory.
            self._optimizer.zero_grad()
            for group in groups:
                # Schedules fill tensors, which a replay reads; numbers would stay as they are.
                group["lr"] = batch[0].new_full((), group["lr"], dtype=torch.float32)
                group["capturable"] = True
            losses: list[Tensor] = []

            def step() -> None:
                loss = self._loss(*batch)
                self._update(loss)
                losses.append(loss.detach())

            self._graph = _Graph(capture(step, self._cuda), batch, losses[0])
        except RuntimeError as error:
            logger.debug("steps are not captured as a CUDA graph: %s", first_line(error))
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate
        finally:
            for group in groups:
                group["capturable"] = False  # torch warns of steps that are not captured


def _functions(device: torch.device) -> Any:
    """What torch has for CUDA; None for another device."""
    return torch.cuda if device.type == "cuda" else None


def _alike(batch: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether two batches have the same shapes and types."""
    return [(x.shape, x.dtype) for x in batch] == [(x.shape, x.dtype) for x in other]


def _draws() -> tuple[object, ...]:
    """The states of the random numbers that a network could draw on the CPU."""
    _, keys, *rest = cast("tuple[Any, ...]", np.random.get_state())  # noqa: NPY002
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), bytes(keys), rest

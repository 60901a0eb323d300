"""The processes that train together: who this one is, and what they have to agree on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from proxies.evaluation import resolve_device

logger = logging.getLogger(__name__)


class Processes:
    """One process, or several that ``accelerate launch`` or ``torchrun`` has started.

    Args:
        device: Where to train: ``"auto"``, ``"cpu"``, ``"cuda"``, ...; of several processes each
            takes a device of this kind.

    Attributes:
        device: The device of this process.
        rank: Number of this process, from 0.
        world: How many there are.

    Raises:
        ImportError: If accelerate is not installed.
        ValueError: If there is no such device.
    """

    def __init__(self, device: str = "auto") -> None:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            message = "training needs accelerate: pip install 'asvit[train]'"
            raise ImportError(message) from error
        launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
        asked_for_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
        where = resolve_device("cpu" if launched and asked_for_cpu else device)
        # It keeps what it is for as long as the process lives. Alone it has nothing to do with
        # the device, so that a process may train on one after the other; nor with the precision.
        cpu = launched and where.type == "cpu"
        self._accelerator: Any = Accelerator(cpu=cpu, device_placement=False, mixed_precision="no")
        if asked_for_cpu and not launched and "MASTER_ADDR" in os.environ:
            logger.warning(
                "accelerate launch --cpu has started one process; several need --multi_gpu, which "
                "also serves CPUs, beside it no --cpu; or torchrun --nproc-per-node"
            )
        self.rank: int = self._accelerator.process_index
        self.world: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device if self.world > 1 else where

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def share(self, network: nn.Module) -> nn.Module:
        """``network`` such that the gradients of all processes are averaged."""
        shared: nn.Module = self._accelerator.prepare_model(network, device_placement=False)
        return shared

    def alone(self, shared: nn.Module) -> AbstractContextManager[Any]:
        """A context in which gradients of a network from :meth:`share` stay in this process."""
        if self.world == 1:
            return nullcontext()
        context: AbstractContextManager[Any] = self._accelerator.no_sync(shared)
        return context

    def sum(self, values: Tensor) -> Tensor:
        """``values`` summed over the processes; each has to call it."""
        total: Tensor = self._accelerator.reduce(values, "sum")
        return total

    def mean(self, values: Tensor) -> Tensor:
        """``values`` averaged over the processes; each has to call it."""
        return self.sum(values) / self.world

    def wait(self) -> None:
        """Wait until every process is here."""
        self._accelerator.wait_for_everyone()

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Do something in the first process, and then in the others."""
        with self._accelerator.main_process_first():
            yield

    def gather(self, value: object) -> list[Any]:
        """What each process has for ``value``, by rank; each has to call it."""
        if self.world == 1:
            return [value]
        held: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(held, value)
        return held

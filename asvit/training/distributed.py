"""The processes of a training: this one alone, or several that share every batch."""

import atexit
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, cast

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from asvit.core.versions import missing
from proxies.evaluation import resolve_device
from proxies.text import one_line

#: How long a process waits for the others, also for the first one to prepare the images. NCCL's
#: default of ten minutes is too short to read a million headers from a network disk.
PATIENCE = timedelta(hours=2)


class ProcessGroup:
    """The processes that share the batches of a training; of this class, one alone.

    Attributes:
        rank: Number of this process, from 0.
        world: Number of processes.
        device: Where this process trains.
    """

    rank: int = 0
    world: int = 1

    def __init__(self, device: str | torch.device = "auto") -> None:
        self.device = device if isinstance(device, torch.device) else resolve_device(device)

    @property
    def first(self) -> bool:
        """Whether this is the main process, which writes files and prints."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Wrap ``network`` so that its gradients are averaged over the processes."""
        return network

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[Any]:
        """A context in which a network from :meth:`wrap` does not average its gradients."""
        return nullcontext()

    def share_norms(self, network: nn.Module) -> None:
        """Make batch norms normalise by the images of all processes; a ValueError on CPUs."""

    def sum(self, values: Tensor) -> Tensor:
        """Sum ``values`` over the processes; every process must call it."""
        return values

    def mean_and_any(self, values: Tensor, flag: bool) -> tuple[Tensor, bool]:
        """Average ``[n]`` values, and whether any process has set the flag, in one exchange.

        Every process must call it; it waits for the device, and returns values on the CPU.
        """
        return values.cpu(), flag

    def wait(self) -> None:
        """Wait until all processes have called this."""

    def leave_at_exit(self) -> None:
        """Leave the group when Python exits."""

    def first_before_others(self) -> AbstractContextManager[Any]:
        """Run the block in the main process first, then in the others."""
        return nullcontext()

    def losses_noticed(self) -> AbstractContextManager[Any]:
        """A context in which a lost process of several is an expected error, not a bug."""
        return nullcontext()

    def gather(self, value: object) -> list[Any]:
        """Collect ``value`` from all processes, by rank; every process must call it."""
        return [value]

    def check_same(self, values: Mapping[str, object]) -> None:
        """Check that all processes have the same values, by name; every process must call it."""
        each = self.gather(dict(values))
        for rank, theirs in enumerate(each):
            for name, value in each[0].items():
                if theirs.get(name) != value:
                    first, other = (one_line(str(one)) for one in (value, theirs.get(name)))
                    raise ValueError(
                        f"{name} is {first} in process 0, but {other} in process {rank}; start "
                        "all processes of a training with the same settings, on the same images "
                        "and with the same run folder"
                    )


class LaunchedProcesses(ProcessGroup):
    """Several processes, started by ``accelerate launch`` or ``torchrun``.

    Each takes a device of the requested kind.
    """

    def __init__(self, device: str = "auto") -> None:
        try:
            from accelerate import Accelerator, InitProcessGroupKwargs
        except ImportError as error:
            raise missing("training in several processes", "accelerate", "train") from error
        cpu_requested = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
        where = resolve_device("cpu" if cpu_requested else device)
        if where.type == "cuda" and (local := os.environ.get("LOCAL_RANK")):
            # accelerate takes it for the number of a GPU, of which a launcher may show one alone.
            os.environ["LOCAL_RANK"] = str(int(local) % torch.cuda.device_count())
        self._accelerator: Any = Accelerator(
            cpu=where.type == "cpu",
            device_placement=False,
            mixed_precision="no",  # the trainer has its own
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        self.rank = self._accelerator.process_index
        self.world = self._accelerator.num_processes
        self.device = self._accelerator.device

    def wrap(self, network: nn.Module) -> nn.Module:
        """As the base says. Not by accelerate, which with DeepSpeed's settings returns it bare."""
        devices = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(network, device_ids=devices)

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[Any]:
        """As the base says."""
        return cast("DistributedDataParallel", wrapped).no_sync()

    def share_norms(self, network: nn.Module) -> None:
        """As the base says."""
        if self.device.type == "cpu":
            raise ValueError(
                "sync_bn needs a GPU in each process: PyTorch has no SyncBatchNorm for CPUs; "
                "leave it out, or train in one process"
            )
        convert_sync_batchnorm(network)

    def sum(self, values: Tensor) -> Tensor:
        """As the base says."""
        return cast("Tensor", self._accelerator.reduce(values, "sum"))

    def mean_and_any(self, values: Tensor, flag: bool) -> tuple[Tensor, bool]:
        """As the base says."""
        sums = self.sum(torch.cat([values, values.new_tensor([float(flag)])])).cpu()
        return sums[:-1] / self.world, bool(sums[-1] > 0)

    def wait(self) -> None:
        """As the base says."""
        self._accelerator.wait_for_everyone()

    def leave_at_exit(self) -> None:
        """As the base says; NCCL warns of groups that nobody left.

        Not at the end of a run: a script may train several times in the same processes. And not
        after an error, when NCCL might wait for the others.
        """
        atexit.register(_leave)

    def first_before_others(self) -> AbstractContextManager[Any]:
        """As the base says."""
        return cast("AbstractContextManager[Any]", self._accelerator.main_process_first())

    @contextmanager
    def losses_noticed(self) -> Iterator[None]:
        """As the base says."""
        try:
            yield
        except RuntimeError as error:
            # Gloo raises plain RuntimeErrors.
            if not re.search("gloo|nccl", str(error), re.IGNORECASE):
                raise
            raise ChildProcessError(
                f"another of the {self.world} processes of this training ended, or cannot be "
                "reached; the same command goes on from the last checkpoint"
            ) from error

    def gather(self, value: object) -> list[Any]:
        """As the base says."""
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values


def processes_of(device: str = "auto") -> ProcessGroup:
    """The processes that a launcher started, or this one alone."""
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    return ProcessGroup(device) if alone else LaunchedProcesses(device)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()

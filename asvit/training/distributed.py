"""The processes of a training: this one alone, or several that share every batch."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from asvit.core.versions import missing
from proxies.evaluation import resolve_device
from proxies.text import one_line

#: How long a process waits for the others, also for the first one to prepare the images. NCCL's
#: default of ten minutes is too short to read a million headers from a network disk.
PATIENCE = timedelta(hours=2)


class ProcessGroup:
    """The processes that share the batches of a training; without accelerate's, one alone.

    All processes must call those methods that exchange values. ``rank`` is the number of this
    process, from 0, ``world`` that of processes, and ``device`` where this one trains.
    """

    def __init__(self, device: str | torch.device = "auto", launched: Any = None) -> None:
        self._launched = launched  # accelerate's state
        self.rank: int = 0 if launched is None else launched.process_index
        self.world: int = 1 if launched is None else launched.num_processes
        if launched is not None:
            device = launched.device
        self.device = device if isinstance(device, torch.device) else resolve_device(device)

    @property
    def first(self) -> bool:
        """Whether this is the main process, which writes files and prints."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Wrap ``network`` so that its gradients are averaged over the processes."""
        if self._launched is None:
            return network
        devices = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(network, device_ids=devices)

    def sum(self, values: Tensor) -> Tensor:
        """Sum ``values`` over the processes."""
        if self._launched is None:
            return values
        from accelerate.utils import reduce

        return cast("Tensor", reduce(values, "sum"))

    def mean_and_any(self, values: Tensor, flag: bool) -> tuple[Tensor, bool]:
        """Average ``[n]`` values, and whether any process has set the flag, in one exchange.

        It waits for the device, and returns values on the CPU.
        """
        if self.world == 1:
            return values.cpu(), flag
        sums = self.sum(torch.cat([values, values.new_tensor([float(flag)])])).cpu()
        return sums[:-1] / self.world, bool(sums[-1] > 0)

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self._launched is not None:
            self._launched.wait_for_everyone()

    def first_before_others(self) -> AbstractContextManager[Any]:
        """Run the block in the main process first, then in the others."""
        if self._launched is None:
            return nullcontext()
        return cast("AbstractContextManager[Any]", self._launched.main_process_first())

    @contextmanager
    def losses_noticed(self) -> Iterator[None]:
        """A context in which a lost process of several is an expected error, not a bug."""
        try:
            yield
        except RuntimeError as error:  # of Gloo, too
            if self.world == 1 or not re.search("gloo|nccl", str(error), re.IGNORECASE):
                raise
            raise ChildProcessError(
                f"another of the {self.world} processes of this training ended, or cannot be "
                "reached; the same command goes on from the last checkpoint"
            ) from error

    def gather(self, value: object) -> list[Any]:
        """Collect ``value`` from all processes, by rank."""
        values: list[Any] = [value] * self.world
        if self._launched is not None:
            torch.distributed.all_gather_object(values, value)
        return values

    def check_same(self, values: Mapping[str, object]) -> None:
        """Check that all processes have the same values, by name."""
        each = self.gather(dict(values))
        for rank, theirs in enumerate(each):
            for name, value in each[0].items():
                if theirs.get(name) != value:
                    first, other = (one_line(str(one)) for one in (value, theirs.get(name)))
                    raise ValueError(
                        f"{name} is {first} in process 0, but {other} in process {rank}; start "
                        "all processes of a training with the same settings, images and folder"
                    )


def processes_of(device: str = "auto") -> ProcessGroup:
    """The processes that ``accelerate launch`` or ``torchrun`` started, or this one alone.

    Each takes a device of the requested kind.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ProcessGroup(device)
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise missing("training in several processes", "accelerate", "train") from error
    cpu_requested = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    on_cpu = cpu_requested or resolve_device(device).type == "cpu"
    return ProcessGroup(launched=PartialState(cpu=on_cpu, timeout=PATIENCE))

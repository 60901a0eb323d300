"""Distributed training: this process, its rank, and collective operations."""

import atexit
import logging
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

logger = logging.getLogger(__name__)

#: How long a process waits for the others, also for the first one to prepare the images. NCCL's
#: default of ten minutes is too short to read a million headers from a network disk.
PATIENCE = timedelta(hours=2)
# What tells a process how many there are, and which one it is: of all, and on its machine.
_LAUNCHED = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
# With one of these, a launcher may show each process a GPU of its own.
_SHOWN = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


class ProcessGroup:
    """One process, or several started by ``accelerate launch`` or ``torchrun``.

    With several processes, each takes a device of the requested kind.
    """

    def __init__(self, device: str = "auto") -> None:
        try:
            from accelerate import Accelerator, InitProcessGroupKwargs
        except ImportError as error:
            raise missing("training", "accelerate", "train") from error
        launched = _is_one_of_several()
        cpu_requested = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
        where = resolve_device("cpu" if launched and cpu_requested else device)
        if where.type == "cuda":
            _check_gpus()
            if launched:
                _take_gpu()
        # An Accelerator's settings are global and final. So a single process chooses its device
        # without it, and may train on several in turn; precision is always handled by the engine.
        cpu = launched and where.type == "cpu"
        self._accelerator: Any = Accelerator(
            cpu=cpu,
            device_placement=False,
            mixed_precision="no",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        if cpu_requested and not launched and "MASTER_ADDR" in os.environ:
            logger.warning(
                "accelerate launch --cpu has started one process; for several use --multi_gpu "
                "without --cpu, which works on CPUs, too, or torchrun --nproc-per-node"
            )
        self.rank: int = self._accelerator.process_index
        self.world: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device if self.world > 1 else where

    @property
    def first(self) -> bool:
        """Whether this is the main process, which writes files and prints."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Wrap ``network`` so that its gradients are averaged over the processes.

        One process has nothing to average. Not by accelerate, which would keep the network, and
        with DeepSpeed's settings return it bare.
        """
        if self.world == 1:
            return network
        devices = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(network, device_ids=devices)

    def share_norms(self, network: nn.Module) -> None:
        """Make batch norms normalise by the images of all processes, which one has anyway.

        Raises:
            ValueError: If several processes are on the CPU.
        """
        if self.world == 1:
            return
        if self.device.type == "cpu":
            raise ValueError(
                "sync_bn needs a GPU in each process: PyTorch has no SyncBatchNorm for CPUs; "
                "leave it out, or train in one process"
            )
        convert_sync_batchnorm(network)

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[Any]:
        """A context in which a network from :meth:`wrap` does not average its gradients."""
        if isinstance(wrapped, DistributedDataParallel):
            return wrapped.no_sync()
        return nullcontext()

    def sum(self, values: Tensor) -> Tensor:
        """Sum ``values`` over the processes; every process must call it."""
        return cast("Tensor", self._accelerator.reduce(values, "sum"))

    def mean_and_any(self, values: Tensor, flag: bool) -> tuple[Tensor, bool]:
        """Average ``[n]`` values, and whether any process has set the flag, in one exchange.

        Every process must call it; it waits for the device, and returns values on the CPU.
        """
        sums = self.sum(torch.cat([values, values.new_tensor([float(flag)])])).cpu()
        return sums[:-1] / self.world, bool(sums[-1] > 0)

    def wait(self) -> None:
        """Wait until all processes have called this."""
        self._accelerator.wait_for_everyone()

    def leave_at_exit(self) -> None:
        """Leave the group when Python exits; NCCL warns of groups that nobody left.

        Not at the end of a run: a script may train several times in the same processes. And not
        after an error, when NCCL might wait for the others.
        """
        if self.world > 1:
            atexit.register(_leave)

    def first_before_others(self) -> AbstractContextManager[Any]:
        """Run the block in the main process first, then in the others."""
        return cast("AbstractContextManager[Any]", self._accelerator.main_process_first())

    @contextmanager
    def losses_noticed(self) -> Iterator[None]:
        """A context in which a lost process of several is an expected error, not a bug."""
        try:
            yield
        except RuntimeError as error:
            # Gloo raises plain RuntimeErrors.
            if self.world == 1 or not re.search("gloo|nccl", str(error), re.IGNORECASE):
                raise
            raise ChildProcessError(
                f"another of the {self.world} processes of this training ended, or cannot be "
                "reached; the same command goes on from the last checkpoint"
            ) from error

    def gather(self, value: object) -> list[Any]:
        """Collect ``value`` from all processes, by rank; every process must call it."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values

    def check_same(self, values: Mapping[str, object]) -> None:
        """Check that all processes have the same values, by name; every process must call it.

        Raises:
            ValueError: If they do not, in every process.
        """
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


def _is_one_of_several() -> bool:
    """Whether a launcher started several processes.

    Raises:
        ValueError: If it did not say all that accelerate needs, without which a process might
            train alone, or write nothing.
    """
    values = {name: os.environ[name] for name in _LAUNCHED if name in os.environ}
    if int(values.get("WORLD_SIZE", "1")) <= 1 and int(values.get("RANK", "0")) == 0:
        return False
    if missing := [name for name in _LAUNCHED if name not in values]:
        there = " and ".join(f"{name}={value}" for name, value in values.items())
        raise ValueError(
            f"the environment has {there}, but no {' and no '.join(missing)}; start several "
            "processes by torchrun or accelerate launch, or set WORLD_SIZE, RANK and LOCAL_RANK "
            "(SLURM_NTASKS, SLURM_PROCID and SLURM_LOCALID of SLURM); to train in one process, "
            "unset them"
        )
    return True


def _check_gpus() -> None:
    """Check that no processes would share a GPU, which NCCL refuses, but not in one line."""
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    own = gpus == 1 and any(name in os.environ for name in _SHOWN)
    if processes > gpus and not own:
        raise ValueError(
            f"{processes} processes were started on a machine with {gpus} GPU(s); start no more "
            f"than it has, as by torchrun --nproc-per-node {gpus}, or give --device cpu"
        )


def _take_gpu() -> None:
    """Make the local rank the number of a visible GPU, which accelerate takes it for."""
    if local := os.environ.get("LOCAL_RANK"):
        os.environ["LOCAL_RANK"] = str(int(local) % torch.cuda.device_count())


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()

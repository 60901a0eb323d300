"""What a training is of: a network with its batches, loss, optimiser, schedule and metrics."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from proxies.evaluation import seed_for

Row = TypeVar("Row")  # a dataclass: what is recorded of an epoch
Batch = tuple[Any, ...]  # the arguments of a task's losses


class Task(ABC, Generic[Row]):
    """What a :class:`asvit.training.trainer.Trainer` trains.

    An update may depend on its number and :attr:`seed`, on nothing that earlier ones left but the
    network and the optimiser: then a training resumes at any of them.
    """

    less_memory: ClassVar[str] = "smaller batches"  # what helps where memory runs out

    network: nn.Module  #: trained in place; the trainer moves it to the device of the processes
    steps: int  #: updates of an epoch
    batch_size: int  #: images of an update, over all processes
    learning_rate: float  #: the highest
    seed: int  #: of every draw
    clip: float = 0.0  #: largest gradient norm; 0 for none
    accumulate: int = 1  #: parts of a batch whose gradients are added up
    ema: float = 0.0  #: decay of a moving average of the weights; 0 for none
    precision: str = "auto"  #: as of :func:`asvit.training.precision.resolve_precision`
    casts: bool = True  #: whether autocast is around all of the losses; else the task has its own
    compiled: bool = False  #: whether the network is compiled
    one_shape: bool = True  #: whether all batches have the shapes of the first
    captured: bool = False  #: whether a CUDA graph may repeat an update

    @abstractmethod
    def batches(self, epoch: int, start: int) -> Iterable[Batch]:
        """This process's batches of an epoch, from 0, on its device, from a position in it on."""

    @abstractmethod
    def losses(self, network: nn.Module, *batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The mean loss of a batch, and other numbers of it that are added up, by name.

        The ``network`` is the task's, perhaps wrapped to average gradients over processes.
        """

    @abstractmethod
    def optimizer(self, device: torch.device) -> torch.optim.Optimizer:
        """The optimiser of the network's parameters, which are on the device."""

    @abstractmethod
    def schedule(self, epochs: int) -> Callable[[int], float]:
        """The learning rate of every update, from 0, in a training of so many epochs."""

    def update_seed(self, update: int, rank: int) -> int | None:
        """The seed of what an update draws in a process; None to draw on from the last one."""
        return seed_for(self.seed, f"dropout {rank}", update)

    def begin(self, epoch: int, networks: Sequence[nn.Module]) -> bool:
        """Change the network, and its average if there is one, for an epoch; whether it did."""
        return False

    def evaluate(self, networks: Sequence[nn.Module]) -> Any:
        """Metrics of the network, and of its average if there is one; every process calls it."""

    def row(self, epoch: int, result: Any, metrics: Any, seconds: float) -> Row:
        """What is recorded of an epoch, from 0.

        From its :class:`asvit.training.trainer.EpochResult`, the metrics of :meth:`evaluate` and
        its wall-clock time.
        """
        raise NotImplementedError

    def state(self, row: Row) -> str:
        """The metrics of a row in a few words."""
        return ""

    @property
    def bad(self) -> Counter[str]:
        """How often each unreadable image was replaced in this process, by name."""
        return Counter()

    def close(self) -> None:
        """End what prepares batches."""

"""What updates cost: multiply-adds and time at each stage of tokens, and images a second."""

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from asvit.measuring.timing import synchronise
from asvit.models.retokenization import retokenize, stem_of, token_stages
from asvit.training.distributed import ProcessGroup
from asvit.training.layout import fast_layout
from asvit.training.precision import training_precision
from asvit.training.settings import TrainSettings
from asvit.training.step_graph import BEFORE_CAPTURE, FEWEST
from asvit.training.task import Task
from asvit.training.token_plan import PUBLISHED_FRACTIONS
from asvit.training.trainer import Trainer
from proxies.counts import count

_TIMED_BATCH, _ON_A_CPU = 64, 16  # images of a process in a step that is timed
#: Multiply-adds of a forward pass that a CPU takes a fraction of a second for. Small networks
#: train up to twice as fast in whole batches as in small ones.
_QUICK = 1_000_000_000
_TIMED = 3  # batches

StageCost = dict[str, Any]


class Timing(Task[None]):
    """Updates of a network ``[B, C, H, W] -> [B, classes]`` on the same images, which are timed.

    On CUDA those that a graph replays are timed, after those that it needs.
    """

    captured = True
    learning_rate = 1e-3
    seed = 0

    def __init__(
        self, network: nn.Module, images: Tensor, *, updates: int, precision: str = "fp32"
    ) -> None:
        self.network, self.precision = network, precision
        self._images, self._untimed = images, _warm_up(images.device)
        self.steps, self.batch_size = self._untimed + updates, len(images)
        self._times = list[float]()

    def batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor]]:
        """The images, timed from one batch to the next."""
        device = self._images.device
        for _ in range(self.steps):
            synchronise(device)
            began = time.perf_counter()
            yield (self._images,)
            synchronise(device)
            self._times.append(time.perf_counter() - began)

    def losses(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The mean square of the outputs."""
        outputs = network(images)
        heads = outputs if isinstance(outputs, tuple) else (outputs,)
        return torch.stack([head.float().square().mean() for head in heads]).sum(), {}

    def optimizer(self, device: torch.device) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.network.parameters(), lr=self.learning_rate, fused=True)

    def schedule(self, epochs: int) -> Callable[[int], float]:
        """A constant."""
        return lambda _update: self.learning_rate

    def seconds(self) -> float:
        """Median time of an update."""
        trainer = Trainer(self, ProcessGroup(self._images.device), epochs=FEWEST)
        with closing(trainer):
            trainer.train(0)
        return statistics.median(self._times[self._untimed :])


def measure_stages(
    model: nn.Module,
    image_size: int = 224,
    *,
    batch_size: int = 16,
    steps: int = 3,
    precision: str = "fp32",
) -> tuple[StageCost, ...]:
    """Count and time the training of ``model`` at each of its stages of tokens, coarse to fine.

    Works on a copy on the device of ``model``, in the form that trainings give it. Neither
    ``model``, ``[B, C, H, W] -> [B, classes]`` or a tuple of those, nor the random number
    generators change. Batch norm needs batches of 2 or more.

    Returns:
        Of each stage, ``stride`` and ``dilation`` of the stem, ``macs`` of a forward pass,
        ``seconds`` of training an image, the median of ``steps`` steps on noise, and ``fraction``
        and ``time_fraction``, both relative to full resolution.
    """
    replica = copy.deepcopy(model)
    stem = stem_of(replica)
    shape = batch_size, stem.in_channels, image_size, image_size
    images = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    images = fast_layout(images.to(stem.weight))
    costs = list[StageCost]()
    for tokens in token_stages(replica):
        retokenize(replica, tokens)
        macs = count(replica, image_size, stem.in_channels).macs
        timing = Timing(replica, images, updates=steps, precision=precision)
        costs.append({**tokens._asdict(), "macs": macs, "seconds": timing.seconds() / batch_size})
    full = costs[-1]
    for cost in costs:
        cost["fraction"] = cost["macs"] / full["macs"]
        cost["time_fraction"] = cost["seconds"] / full["seconds"]
    return tuple(costs)


def stages_of(
    settings: TrainSettings, model: nn.Module, processes: ProcessGroup
) -> tuple[StageCost, ...]:
    """Epochs and measured cost of each stage of a training, with the published fraction."""
    stages: tuple[StageCost, ...] = ()
    if processes.first:  # alone: processes would slow each other down
        costs = measure_stages(
            model.to(processes.device),
            settings.image_size,
            batch_size=max(2, timed_batch(settings, processes)),
            precision=training_precision(settings.precision, processes.device, model),
        )
        plan = zip(settings.plan.epochs, costs, PUBLISHED_FRACTIONS, strict=True)
        stages = tuple(
            {"epochs": epochs, **cost, "published_fraction": part} for epochs, cost, part in plan
        )
    return tuple(processes.gather(stages)[0])


def timed_batch(settings: TrainSettings, processes: ProcessGroup, macs: float = math.inf) -> int:
    """Images of a process in a step of a training that is timed: few, but enough for a GPU.

    On a CPU fewer, unless a network of so many multiply-adds is quick. An even number of them, as
    mixing takes pairs, unless a batch of the training has an odd number.
    """
    most = _TIMED_BATCH
    if processes.device.type == "cpu":
        most = min(most, max(_ON_A_CPU, 2 * int(_QUICK / 2 / max(macs, 1))))
    return min(most, settings.batch_size // processes.world)


def images_per_second(
    task: Task[Any], processes: ProcessGroup, *, epochs: int, workers: int = 0
) -> float:
    """Throughput of a few batches of a training, prepared by this process; weights change.

    With ``workers`` that prepare batches while a GPU trains, the slower of both tells: they
    together take this process's time over their number.
    """
    trainer = Trainer(task, processes, epochs=epochs)
    with closing(task), closing(trainer):
        trainer.train(0, batches=islice(task.batches(0, 0), _warm_up(processes.device)))
        batches = islice(task.batches(0, 0), _TIMED)
        if not workers:
            return trainer.train(0, batches=batches).images_per_second
        began = time.perf_counter()
        ready = list(batches)
        prepared = len(ready) * task.batch_size / (time.perf_counter() - began)
        return min(trainer.train(0, batches=ready).images_per_second, workers * prepared)


def _warm_up(device: torch.device) -> int:
    """Updates before those that are timed: the first is slow, and graphs need some."""
    return BEFORE_CAPTURE + 1 if device.type == "cuda" else 1

"""What a training costs: multiply-adds at each stage of tokens, and images a second."""

import copy
import math
import time
from contextlib import closing
from itertools import islice
from typing import Any

import torch
from torch import nn

from asvit.models.retokenization import retokenize, stem_of, token_stages
from asvit.training.distributed import ProcessGroup
from asvit.training.settings import TrainSettings
from asvit.training.step_graph import BEFORE_CAPTURE
from asvit.training.task import Task
from asvit.training.token_plan import PUBLISHED_FRACTIONS
from asvit.training.trainer import Trainer
from proxies.counts import count

_TIMED_BATCH, _ON_A_CPU = 64, 16  # images of a process in a step that is timed
#: Multiply-adds of a forward pass that a CPU takes a fraction of a second for. Small networks
#: train up to twice as fast in whole batches as in small ones.
_QUICK = 1_000_000_000
_TIMED = 3  # batches
#: Rounds of these whose fastest tells, as others may be disturbed, while they take less than
#: so many seconds together.
_ROUNDS, _BRIEF = 5, 1.0

StageCost = dict[str, Any]


def count_stages(model: nn.Module, image_size: int = 224) -> tuple[StageCost, ...]:
    """Multiply-adds of ``model`` at each of its stages of tokens, coarse to fine.

    Returns:
        Of each stage, ``stride`` and ``dilation`` of the stem, ``macs`` of a forward pass, and
        ``fraction``, relative to full resolution.
    """
    replica = copy.deepcopy(model)
    channels, costs = stem_of(replica).in_channels, list[StageCost]()
    for tokens in token_stages(replica):
        retokenize(replica, tokens)
        costs.append({**tokens._asdict(), "macs": count(replica, image_size, channels).macs})
    return tuple({**cost, "fraction": cost["macs"] / costs[-1]["macs"]} for cost in costs)


def stages_of(settings: TrainSettings, model: nn.Module) -> tuple[StageCost, ...]:
    """Epochs and cost of each stage of a training, with the published fraction."""
    costs = count_stages(model, settings.image_size)
    plan = zip(settings.plan.epochs, costs, PUBLISHED_FRACTIONS, strict=True)
    return tuple(
        {"epochs": epochs, **cost, "published_fraction": part} for epochs, cost, part in plan
    )


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
    """Throughput of a few batches of a training, at its best; weights change.

    With ``workers`` that prepare batches while a GPU trains, the slower of both tells: they
    together take this process's time over their number.
    """
    trainer = Trainer(task, processes, epochs=epochs)
    with closing(task), closing(trainer):
        trainer.train(0, batches=islice(task.batches(0, 0), _warm_up(processes.device)))
        began = time.perf_counter()
        if workers:
            ready = list(islice(task.batches(0, 0), _TIMED))
            prepared = len(ready) * task.batch_size / (time.perf_counter() - began)
            return min(trainer.train(0, batches=ready).images_per_second, workers * prepared)
        fastest = 0.0
        for _ in range(_ROUNDS):
            batches = islice(task.batches(0, 0), _TIMED)
            fastest = max(fastest, trainer.train(0, batches=batches).images_per_second)
            if time.perf_counter() - began > _BRIEF:
                break
        return fastest


def _warm_up(device: torch.device) -> int:
    """Updates before those that are timed: the first is slow, and graphs need some."""
    return BEFORE_CAPTURE + 1 if device.type == "cuda" else 1

"""What a training costs: multiply-adds at each stage of tokens, and images a second."""

import copy
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from torch import nn

from asvit.models.retokenization import retokenize, stem_of, token_stages
from asvit.training.distributed import ProcessGroup
from asvit.training.settings import TokenPlan, TrainSettings
from asvit.training.step_graph import BEFORE_CAPTURE
from asvit.training.trainer import Task, Trainer
from proxies.counts import count

_TIMED_BATCH, _ON_A_CPU = 64, 16  # images of a process in a step that is timed
_QUICK = 1_000_000_000  # multiply-adds that a CPU takes a fraction of a second for
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
    """Epochs and cost of each stage of a training."""
    costs = count_stages(model, settings.image_size)
    plan = zip(settings.plan.epochs, costs, strict=True)
    return tuple({"epochs": epochs, **cost} for epochs, cost in plan)


def saved(plan: TokenPlan, fractions: Sequence[float]) -> float:
    """The share of the training cost that a plan saves: ``1 − Σ share · fraction``.

    The fractions are the costs of an epoch of each stage relative to full resolution.
    """
    spent = math.fsum(e * f for e, f in zip(plan.epochs, fractions, strict=True))
    return 1 - spent / sum(plan.epochs)


def saved_by(plan: TokenPlan, stages: Sequence[Mapping[str, Any]]) -> float | None:
    """The share of a training's multiply-adds that the coarser of its stages save, if any."""
    return saved(plan, [float(stage["fraction"]) for stage in stages]) if stages else None


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
    # The first update is slow, and graphs need some.
    warm_up = BEFORE_CAPTURE + 1 if processes.device.type == "cuda" else 1
    trainer = Trainer(task, processes, epochs=epochs)
    with closing(task), closing(trainer):
        trainer.train(0, batches=islice(task.batches(0, 0), warm_up))
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

"""Training cost of each re-tokenization stage: counted multiply-adds and measured time."""

import copy
import math
import statistics
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asvit.models.retokenization import Tokens, retokenize, stem_of, token_stages
from asvit.training.cuda_graphs import BEFORE_CAPTURE
from asvit.training.distributed import ProcessGroup
from asvit.training.layout import fast_layout, use_fast_convolutions
from asvit.training.precision import arithmetic, resolve_precision
from asvit.training.settings import TrainSettings
from asvit.training.step_graph import FEWEST, StepGraph
from asvit.training.token_plan import PUBLISHED_FRACTIONS
from proxies.counts import count
from proxies.timing import synchronise

_TIMED_BATCH, _ON_A_CPU = 64, 16  # images of a process in a step that is timed
#: Multiply-adds of a forward pass that a CPU takes a fraction of a second for. Small networks
#: train up to twice as fast in whole batches as in small ones.
_QUICK = 1_000_000_000


@dataclass(frozen=True)
class StageCost:
    """Cost of an image at one stage of tokens; fractions are relative to full resolution."""

    tokens: Tokens  # stride and dilation of the stem
    macs: int  # multiply-adds of a forward pass, by the core rules of proxies.count
    fraction: float  # of macs
    seconds: float  # of training: both passes, and its share of the optimiser's step
    time_fraction: float

    def to_json(self) -> dict[str, Any]:
        """The cost in JSON types; stride and dilation are separate entries."""
        content = asdict(self)
        return {**content.pop("tokens")._asdict(), **content}


def measure_stages(
    model: nn.Module,
    image_size: int = 224,
    *,
    batch_size: int = 16,
    steps: int = 3,
    precision: torch.dtype | None = None,
) -> tuple[StageCost, ...]:
    """Count and time the training of ``model`` at each of its stages of tokens, coarse to fine.

    Works on a copy on the device of ``model``, in the form that trainings give it, which needs
    memory for a second network, its gradients and the state of AdamW. Neither ``model`` nor the
    random number generators change. The time is the median of ``steps`` steps on noise, after one
    that is not timed; on CUDA of steps that a graph replays, after those that it needs.

    The model gives ``[B, C, H, W] -> [B, classes]``, or a tuple of those; batch norm needs batches
    of 2 or more. ``precision`` is for autocast; None stands for the dtype of the weights.
    """
    replica = copy.deepcopy(model).train()
    stages = token_stages(replica)
    stem = stem_of(replica)
    use_fast_convolutions(replica, stem.weight.device)
    macs, seconds = [], []
    cuda = [stem.weight.device] if stem.weight.device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        images = torch.randn(
            *(batch_size, stem.in_channels, image_size, image_size),
            generator=torch.Generator().manual_seed(0),
        )
        images = fast_layout(images.to(stem.weight))
        for tokens in stages:
            retokenize(replica, tokens)
            macs.append(count(replica, image_size, stem.in_channels).macs)
            seconds.append(_seconds(replica, images, steps, precision) / batch_size)
    return tuple(
        StageCost(tokens, work, work / macs[-1], spent, spent / seconds[-1])
        for tokens, work, spent in zip(stages, macs, seconds, strict=True)
    )


def _seconds(model: nn.Module, images: Tensor, steps: int, precision: torch.dtype | None) -> float:
    """Median time of a training step, in seconds; on CUDA as a graph replays it."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    device = images.device

    def take(images: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
            outputs = model(images)
        heads = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = torch.stack([head.float().square().mean() for head in heads]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    step = StepGraph(take, model, optimizer, steps=FEWEST, device=device)
    untimed, times = 1 if device.type == "cpu" else BEFORE_CAPTURE + 1, list[float]()
    with closing(step), step.running():
        for _ in range(untimed + steps):
            synchronise(device)
            began = time.perf_counter()
            step(images)
            synchronise(device)
            times.append(time.perf_counter() - began)
    return statistics.median(times[untimed:])


def timed_batch(settings: TrainSettings, processes: ProcessGroup, macs: float = math.inf) -> int:
    """Images of a process in a step of a training that is timed: few, but enough for a GPU.

    On a CPU fewer, unless a network of so many multiply-adds is quick. An even number of them, as
    mixing takes pairs, unless a batch of the training has an odd number.
    """
    most = _TIMED_BATCH
    if processes.device.type == "cpu":
        most = min(most, max(_ON_A_CPU, 2 * int(_QUICK / 2 / max(macs, 1))))
    return min(most, settings.batch_size // processes.world)


def stages_of(
    settings: TrainSettings, model: nn.Module, processes: ProcessGroup
) -> tuple[dict[str, Any], ...]:
    """Epochs and measured cost of each stage of a training, with the published fraction."""
    stages: tuple[dict[str, Any], ...] = ()
    if processes.first:  # alone: processes would slow each other down
        precision = resolve_precision(settings.precision, processes.device)
        with arithmetic(processes.device, precision):
            costs = measure_stages(
                model.to(processes.device),
                settings.image_size,
                batch_size=max(2, timed_batch(settings, processes)),
                precision=torch.bfloat16 if precision == "bf16" else None,
            )
        stages = tuple(
            {"epochs": epochs, **cost.to_json(), "published_fraction": published}
            for epochs, cost, published in zip(
                settings.plan.epochs, costs, PUBLISHED_FRACTIONS, strict=True
            )
        )
    return tuple(processes.gather(stages)[0])

"""What training costs at each stage of tokens: counted, and measured where it will happen."""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asvit.models.retokenization import Tokens, retokenize, stem_of, token_stages
from proxies.counts import count


@dataclass(frozen=True)
class StageCost:
    """What an image costs at one stage of tokens.

    Attributes:
        tokens: Stride and dilation of the stem.
        macs: Multiply-adds of a forward pass, by the ``core`` rules of :func:`proxies.count`.
        fraction: The same over those at full resolution.
        seconds: Of training time: forward and backward pass, and the optimiser's step shared
            among the images of the batch.
        time_fraction: The same over those at full resolution.
    """

    tokens: Tokens
    macs: int
    fraction: float
    seconds: float
    time_fraction: float

    def to_json(self) -> dict[str, Any]:
        """The cost in the types of JSON; stride and dilation by themselves."""
        return {
            **self.tokens._asdict(),
            "macs": self.macs,
            "fraction": self.fraction,
            "seconds": self.seconds,
            "time_fraction": self.time_fraction,
        }


def measure_stages(
    model: nn.Module,
    image_size: int = 224,
    *,
    batch_size: int = 16,
    steps: int = 3,
    precision: torch.dtype | None = None,
) -> tuple[StageCost, ...]:
    """Count and time the training of ``model`` at each of its stages of tokens.

    Works on a copy, on the device of ``model``: memory for a second network, its gradients and
    AdamW's state is needed while it runs. The network itself, its weights, statistics, gradients
    and tokens, and the state of the random number generators stay as they are. Time is the median
    of ``steps`` steps on noise, after one that is not timed.

    Args:
        model: ``[B, C, H, W] -> [B, classes]``, or a tuple of such.
        image_size: Side of the images in pixels.
        batch_size: Images in a step; at least 2, as batch norm needs them.
        steps: Steps that are timed at each stage.
        precision: Compute in this dtype by autocast; None for that of the weights.

    Returns:
        The costs, coarse to fine.

    Raises:
        ValueError: If the network cannot be retokenized, or cannot run on such images at one of
            the stages.
    """
    twin = copy.deepcopy(model).train()
    stages = token_stages(twin)
    stem = stem_of(twin)
    macs, seconds = [], []
    cuda = [stem.weight.device] if stem.weight.device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        images = torch.randn(
            *(batch_size, stem.in_channels, image_size, image_size),
            generator=torch.Generator().manual_seed(0),
        ).to(stem.weight)
        for tokens in stages:
            retokenize(twin, tokens)
            macs.append(count(twin, image_size, stem.in_channels).macs)
            seconds.append(_seconds(twin, images, steps, precision) / batch_size)
    return tuple(
        StageCost(tokens, work, work / macs[-1], spent, spent / seconds[-1])
        for tokens, work, spent in zip(stages, macs, seconds, strict=True)
    )


def _seconds(model: nn.Module, images: Tensor, steps: int, precision: torch.dtype | None) -> float:
    """Median time of a training step."""
    optimizer = torch.optim.AdamW(model.parameters())
    kind = images.device.type
    times = []
    for _ in range(steps + 1):
        _wait(images.device)
        began = time.perf_counter()
        with torch.autocast(kind, dtype=precision, enabled=precision is not None):
            outputs = model(images)
        heads = outputs if isinstance(outputs, tuple) else (outputs,)
        torch.stack([head.float().square().mean() for head in heads]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        _wait(images.device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _wait(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)

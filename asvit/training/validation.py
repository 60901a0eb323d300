"""How good a network is on labelled images, over all processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.training.processes import Processes

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a network on some images.

    Attributes:
        top1: Images whose class had the largest logit, per cent.
        top5: Images whose class was among the five largest, per cent.
        loss: Mean cross-entropy, nats.
        images: How many images there were.
    """

    top1: float
    top5: float
    loss: float
    images: int


def evaluate(
    network: nn.Module, batches: Batches, processes: Processes, *, precision: str = "fp32"
) -> Accuracy:
    """Measure ``network``, which is left in evaluation mode.

    Args:
        network: ``[B, 3, S, S] -> [B, classes]``, on the device of this process. Not one that
            shares gradients: the processes may have different numbers of batches.
        batches: This process's images and labels ``[B]`` int64; together every image once.
        processes: Those that evaluate together; each has to call this.
        precision: As the settings of a training have it.

    Raises:
        ValueError: If there are no images.
    """
    network.eval()
    device = processes.device
    seen = 0
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # of top-1, top-5 and the loss
    # Not inference mode: what a network keeps from one pass to the next has to serve training.
    with torch.no_grad(), autocast(device, precision):
        for images, labels in batches:
            wanted = labels.to(device, non_blocking=True)
            logits = network(images.to(device, non_blocking=True)).float()
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices
            hits = best == wanted[:, None]
            loss = F.cross_entropy(logits, wanted, reduction="sum")
            sums += torch.stack([hits[:, 0].sum().double(), hits.sum().double(), loss.double()])
            seen += len(wanted)
    top1, top5, total, images = processes.sum(torch.cat([sums, sums.new_tensor([seen])])).tolist()
    if not images:
        raise ValueError("there are no images to validate on; give some")
    return Accuracy(100 * top1 / images, 100 * top5 / images, total / images, round(images))


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which matrix products are in bfloat16, if the precision says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")

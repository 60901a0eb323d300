"""How good networks are on labelled images, over all processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    networks: Sequence[nn.Module],
    batches: Batches,
    processes: Processes,
    *,
    precision: str = "fp32",
) -> list[Accuracy]:
    """Measure networks, which are left in evaluation mode, in one pass over the images.

    Args:
        networks: Each ``[B, 3, S, S] -> [B, classes]``, on the device of this process. Not one
            that shares gradients: the processes may have different numbers of batches.
        batches: This process's images and labels ``[B]`` int64; together every image once.
        processes: Those that evaluate together; each has to call this.
        precision: As the settings of a training have it.

    Returns:
        The accuracy of each network.

    Raises:
        ValueError: If there are no images.
    """
    device = processes.device
    seen = 0
    # Of top-1, top-5 and the loss.
    sums = torch.zeros(len(networks), 3, dtype=torch.float64, device=device)
    for network in networks:
        network.eval()
    # Not inference mode: what a network keeps from one pass to the next has to serve training.
    with torch.no_grad(), autocast(device, precision):
        for images, labels in batches:
            shown, wanted = (x.to(device, non_blocking=True) for x in (images, labels))
            for network, total in zip(networks, sums, strict=True):
                total += _hits(network(shown).float(), wanted)
            seen += len(wanted)
    images_seen = int(processes.sum(torch.tensor(seen, device=device)))
    if not images_seen:
        raise ValueError("there are no images to validate on; give some")
    return [
        Accuracy(
            100 * top1 / images_seen, 100 * top5 / images_seen, loss / images_seen, images_seen
        )
        for top1, top5, loss in processes.sum(sums).tolist()
    ]


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of ``[B]`` labels are the first and among the first five, and the summed loss."""
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = best == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([hits[:, 0].sum().double(), hits.sum().double(), loss.double()])


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which matrix products are in bfloat16, if the precision says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")

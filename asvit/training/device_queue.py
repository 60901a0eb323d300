"""What a training does without waiting for its device, on which steps queue up."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

READ_EVERY = 50  # steps

Draws = dict[str, Tensor]  # random numbers of a step by name


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to ``device``; to a CUDA device without waiting for the copy."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def drawn_ahead(
    draw: Callable[[int], Draws], steps: range, device: torch.device
) -> Iterator[Draws]:
    """The draws of each step, on the device; :data:`READ_EVERY` steps share a copy."""
    for start in range(0, len(steps), READ_EVERY):
        block = steps[start : start + READ_EVERY]
        draws = [draw(step) for step in block]
        copies = {
            name: to_device(torch.stack([one[name] for one in draws]), device) for name in draws[0]
        }
        for place in range(len(block)):
            yield {name: values[place] for name, values in copies.items()}


class UnreadLosses:
    """Losses of steps on their device, as reading them waits for it.

    On one CPU, where no step waits in a queue, they are due for reading after each step, otherwise
    after :data:`READ_EVERY`.
    """

    def __init__(self, device: torch.device, *, processes: int = 1) -> None:
        self._every = 1 if device.type == "cpu" and processes == 1 else READ_EVERY
        self._losses: list[Tensor] = []

    def add(self, losses: Tensor) -> bool:
        """Add those of a step, always of the same shape; returns whether they are due."""
        self._losses.append(losses.detach())
        return len(self._losses) >= self._every

    def take(self) -> Tensor:
        """Those of all steps since the last call, ``[steps, ...]``, still on the device."""
        losses = torch.stack(self._losses) if self._losses else torch.empty(0)
        self._losses.clear()
        return losses

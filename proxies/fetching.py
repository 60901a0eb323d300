"""Results on their way from an accelerator to the host."""

from collections.abc import Sequence

import torch
from torch import Tensor


def fetch(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of any shapes on the CPU, by one wait for their device however many there are.

    A measure runs ahead of its device until it looks at a value; it should do so once, at its end.
    Numbers travel in the widest dtype among them, which holds each exactly.
    """
    if not tensors:
        return []
    together = torch.cat([tensor.detach().flatten() for tensor in tensors]).cpu()
    parts = together.split([tensor.numel() for tensor in tensors])
    pairs = zip(parts, tensors, strict=True)
    return [part.to(tensor.dtype).reshape(tensor.shape) for part, tensor in pairs]

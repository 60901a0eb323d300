"""Memory: smaller chunks when it runs out, and copies to the host."""

import logging
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from proxies.messages import out_of_memory

log = logging.getLogger(__name__)

# Key of a computation -> how often its rows must be halved to fit.
_halvings: dict[Hashable, int] = {}


def in_chunks(
    function: Callable[[slice], Tensor], size: int, *, key: tuple[Hashable, ...]
) -> Tensor:
    """Concatenate ``function(rows)`` over ``size`` rows; halve the chunks when memory runs out.

    Chunks that did not fit are skipped the next time, for the same ``key``, which begins with the
    name of what is computed.
    """
    while True:
        chunk = -(-size >> _halvings.get(key, 0))
        try:
            parts = [function(slice(start, start + chunk)) for start in range(0, size, chunk)]
            return parts[0] if len(parts) == 1 else torch.cat(parts)
        except (RuntimeError, MemoryError) as error:
            if chunk == 1 or not out_of_memory(error):
                raise
        _halvings[key] = _halvings.get(key, 0) + 1
        log.warning("out of memory: from now on %s in smaller pieces", key[0])
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()  # a smaller attempt finds unfragmented memory


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors of any shapes to the CPU with a single device synchronisation.

    A measure runs ahead of its device until it reads a value; it should do so once, at its end.
    The tensors travel in the widest dtype among them, which represents each exactly.
    """
    if not tensors:
        return []
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors]).cpu()
    parts = flat.split([tensor.numel() for tensor in tensors])
    pairs = zip(parts, tensors, strict=True)
    return [part.to(tensor.dtype).reshape(tensor.shape) for part, tensor in pairs]

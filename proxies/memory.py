"""Memory: smaller chunks when it runs out, copies to the host, returning freed memory."""

import ctypes
import itertools
import logging
import os
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from proxies.messages import out_of_memory

log = logging.getLogger(__name__)

# Key of a computation -> index of the first choice that has not run out of memory.
_first_choice: dict[Hashable, int] = {}


def first_that_fits(
    attempt: Callable[[int], Tensor], choices: Sequence[int], *, key: tuple[Hashable, ...]
) -> Tensor:
    """Result of the first choice that does not run out of memory.

    Choices go from the fastest, which needs the most memory, to the leanest, whose error is
    raised. Those that ran out of memory are skipped the next time, for the same ``key``, which
    begins with the name of what is computed.
    """
    for index in range(_first_choice.get(key, 0), len(choices) - 1):
        try:
            return attempt(choices[index])
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        _first_choice[key] = index + 1
        log.warning("out of memory: from now on %s in smaller pieces", key[0])
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()  # a smaller attempt finds unfragmented memory
    return attempt(choices[-1])


def in_chunks(
    function: Callable[[slice], Tensor], size: int, *, key: tuple[Hashable, ...]
) -> Tensor:
    """Concatenate ``function(rows)`` over ``size`` rows; halve the chunks when memory runs out."""

    def attempt(chunk: int) -> Tensor:
        parts = [function(slice(start, start + chunk)) for start in range(0, size, chunk)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    halvings = (size - 1).bit_length()
    return first_that_fits(attempt, [-(-size >> k) for k in range(halvings + 1)], key=key)


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


_trims = itertools.count(1)


def trim_host_memory() -> None:
    """Return freed host memory to the system, if the C library can (glibc).

    Networks of ever different shapes fragment the heap: over a search the process would hold half
    as much again as any single network needs. Allocating the memory again costs a small network
    a tenth of its time, so only one call of four trims.
    """
    if os.name == "posix" and next(_trims) % 4 == 0:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)

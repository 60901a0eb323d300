"""Measures that do not fit into memory are taken in pieces."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)


def in_chunks(function: Callable[[slice], Tensor], size: int) -> Tensor:
    """Concatenate ``function(rows)`` over ``size`` rows, halving the rows when memory runs out."""
    chunk = size
    while True:
        try:
            parts = [function(slice(start, start + chunk)) for start in range(0, size, chunk)]
            return parts[0] if len(parts) == 1 else torch.cat(parts)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or chunk == 1:
                raise
        chunk = -(-chunk // 2)
        release_memory()
        log.warning("out of memory: going on with %d of %d images at a time", chunk, size)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on an accelerator or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release_memory() -> None:
    """Give cached accelerator memory back, so that a smaller attempt finds it whole."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

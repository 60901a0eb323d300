"""Measures that do not fit into memory are taken in pieces."""

import ctypes
import functools
import itertools
import logging
import os
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

log = logging.getLogger(__name__)

# What is measured, on what -> how far down its choices it had to go: there the next one starts.
_steps_down: dict[Hashable, int] = {}


def first_that_fits(
    attempt: Callable[[int], Tensor], choices: Sequence[int], *, key: Hashable
) -> Tensor:
    """Result of the first choice that does not run out of memory.

    Args:
        attempt: Computes the result with one choice.
        choices: From the fastest, which takes the most memory, to the leanest.
        key: What is computed; under the same key a choice that ran out is not tried again.

    Raises:
        RuntimeError: If the leanest choice runs out of memory, or for any other reason at once.
    """
    for step in range(_steps_down.get(key, 0), len(choices)):
        try:
            return attempt(choices[step])
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or step == len(choices) - 1:
                raise
        _steps_down[key] = step + 1
        log.warning("out of memory: from now on %s in smaller pieces", key)
        release_memory()
    raise ValueError("no choice to attempt; give at least one")


def in_chunks(function: Callable[[slice], Tensor], size: int, *, key: Hashable) -> Tensor:
    """Concatenate ``function(rows)`` over ``size`` rows, halving the rows when memory runs out."""

    def attempt(chunk: int) -> Tensor:
        parts = [function(slice(start, start + chunk)) for start in range(0, size, chunk)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    halvings = (size - 1).bit_length()
    return first_that_fits(attempt, [-(-size >> k) for k in range(halvings + 1)], key=key)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on an accelerator or on the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def trim_host_memory(*, every: int = 1) -> None:
    """Give freed host memory back to the system, where the C library can (glibc).

    Networks of ever other shapes leave gaps between allocations: over a search the process would
    hold half as much again as any one network needs. What is given back has to be fetched again,
    which costs a small network a tenth of its time, so only one of ``every`` calls does it.
    """
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None and next(_trims) % every == 0:
        trim(0)


_trims = itertools.count(1)


@functools.cache
def _c_library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if os.name == "posix" else None


def release_memory() -> None:
    """Give cached accelerator memory back, so that a smaller attempt finds it whole."""
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()

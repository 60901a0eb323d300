"""Seeds of the draws for a batch, each derived from its purpose, and their generators."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

ORDER, IMAGE, MIX = 0, 1, 2  #: first keys of the seeds of a training


def derive_seed(*key: int) -> int:
    """Hash ``key`` to a seed below 2⁶³, the same on every machine.

    It takes about a microsecond, a tenth of a ``numpy.random.SeedSequence``.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, numpy and PyTorch (CPU): timm draws from all three."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would initialise CUDA


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restore the state of these generators when the block ends."""
    python, legacy, pytorch = (
        random.getstate(),
        np.random.get_state(),  # noqa: NPY002
        torch.default_generator.get_state(),
    )
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.default_generator.set_state(pytorch)

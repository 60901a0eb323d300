"""Seeds by identity: what is drawn, and how many architectures were measured before it."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import torch


def seed_for(run_seed: int, purpose: str, count: int) -> int:
    """A seed below 2^32 for one draw of a run, unrelated to those of its other draws.

    Args:
        run_seed: Seed of the run, at least 0.
        purpose: What is drawn.
        count: Architectures measured before this draw.
    """
    sequence = np.random.SeedSequence([run_seed, crc32(purpose.encode()), count])
    return int(sequence.generate_state(1)[0])


def generator(run_seed: int, purpose: str, count: int) -> torch.Generator:
    """A torch generator on the CPU with the seed of :func:`seed_for`."""
    return torch.Generator().manual_seed(seed_for(run_seed, purpose, count))

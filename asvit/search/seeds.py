"""Seeds by identity: what is drawn, and how many architectures were measured before it."""

from zlib import crc32

import numpy as np


def draw_seed(run_seed: int, purpose: str, count: int) -> int:
    """A seed below 2^32 for one draw of a run, unrelated to those of its other draws.

    ``purpose`` is what is drawn, ``count`` how many architectures were measured before.
    """
    sequence = np.random.SeedSequence([run_seed, crc32(purpose.encode()), count])
    return int(sequence.generate_state(1)[0])

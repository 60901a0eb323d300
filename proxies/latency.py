"""What timing a forward pass gave; without torch, as results are read without it."""

from dataclasses import dataclass

#: Value of :attr:`Latency.busy` above which a time says more about other programs.
BUSY = 1.3


@dataclass(frozen=True)
class Latency:
    """Time of a forward pass.

    Attributes:
        milliseconds: Median over the timed passes.
        spread: Interquartile range of the timed passes, in milliseconds.
        relative: Median of the passes in units of the reference network's pass before each: what
            slows both cancels, so where other programs run it orders networks more reliably.
        passes: Number of timed passes.
        busy: Upper quartile of the reference network's passes over its shortest one in this
            process, at least 1. Near 1 on an idle machine; above :data:`BUSY`, measure again.
        device: Name of the processor or the accelerator.
        threads: Threads that an operation may use on the CPU.
        runtime: What ran the network.
        batch: Images in a pass.
        image_size: Their side in pixels.
    """

    milliseconds: float
    spread: float
    relative: float
    passes: int
    busy: float
    device: str
    threads: int
    runtime: str
    batch: int
    image_size: int

    @property
    def is_busy(self) -> bool:
        """Whether other programs disturbed the measurement."""
        return self.busy > BUSY

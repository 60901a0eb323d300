"""The result of timing a forward pass; without torch, as results are read without it."""

from dataclasses import dataclass

#: Value of :attr:`Latency.busy` above which a time is unreliable.
BUSY = 1.3
#: Share of the allowed time to use: repeated times of a network mostly vary by less than the rest.
CAREFUL = 0.95


@dataclass(frozen=True)
class Latency:
    """Time of a forward pass."""

    milliseconds: float  #: median over the timed passes
    spread: float  #: interquartile range of the timed passes, in milliseconds
    #: Median of the passes in units of the reference network's pass before each: what slows both
    #: cancels, so where other programs run it orders networks more reliably.
    relative: float
    passes: int  #: number of timed passes
    #: Upper quartile of the reference network's passes over its shortest one in this process, at
    #: least 1. Near 1 on an idle machine; above :data:`BUSY`, measure again.
    busy: float
    device: str  #: name of the processor or the accelerator
    threads: int  #: threads that an operation may use on the CPU
    runtime: str  #: what ran the network
    batch: int  #: images in a pass
    image_size: int  #: their side in pixels

    @property
    def is_busy(self) -> bool:
        """Whether other programs disturbed the measurement."""
        return self.busy > BUSY

    @property
    def busy_in_words(self) -> str:
        """A warning where the machine was busy, else nothing."""
        return (
            f"the machine was busy: a network that is always the same took {self.busy:.1f} times "
            "its shortest pass; time again when it is idle"
            if self.is_busy
            else ""
        )

    def doubts(self, allowed: float) -> list[str]:
        """Warnings that the network may take more than the allowed milliseconds."""
        slow = (
            f"timed again, in a process of its own, it takes {self.milliseconds:.3g} ms, more "
            f"than the {allowed:g} ms allowed"
            if self.milliseconds > allowed
            else ""
        )
        return [f"warning: {why}" for why in (slow, self.busy_in_words) if why]

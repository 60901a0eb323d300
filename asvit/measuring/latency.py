"""The result of timing a forward pass; without torch, as results are read without it."""

from dataclasses import dataclass

#: Value of :attr:`Latency.busy` above which a time is unreliable.
BUSY = 1.3
#: Value of :attr:`Latency.runtime` where a program of the user's has timed the network.
COMMAND = "command"
#: Share of the allowed time to use: repeated times of a network mostly vary by less than the rest.
CAREFUL = 0.95


def time_in_words(milliseconds: float) -> str:
    """A time as ``8.25 ms`` or ``1,234 ms``, without an exponent."""
    return f"{milliseconds:,.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"


def over_limit(milliseconds: float, allowed: float, share: float = 1.0) -> str:
    """A time above a limit or a share of it, as ``9 ms, more than 95% of the 8 ms allowed``."""
    time = time_in_words(milliseconds)
    slightly = "slightly " if time == time_in_words(share * allowed) else ""
    of_limit = "" if share == 1 else f"{share:.0%} of "
    return f"{time}, {slightly}more than {of_limit}the {allowed:g} ms allowed"


def on_threads(device: str, threads: int) -> str:
    """A device and the threads that an operation may use, as ``AMD EPYC, 2 threads``."""
    return f"{device}, {threads} thread{'s' * (threads > 1)}"


@dataclass(frozen=True)
class Latency:
    """Time of a forward pass."""

    milliseconds: float  #: median over the timed passes
    spread: float  #: interquartile range of the timed passes, in milliseconds
    #: Median of the passes in units of the reference network's pass before each: what slows both
    #: cancels, so where other programs run it orders networks more reliably. 1 by a command.
    relative: float
    passes: int  #: number of timed passes; by a command, how often it was run
    #: Upper quartile of the reference network's passes over its shortest one in this process, at
    #: least 1. Near 1 on an idle machine; above :data:`BUSY`, measure again. 1 by a command.
    busy: float
    device: str  #: name of the processor or the accelerator, or the command that timed it
    threads: int  #: threads that an operation may use on the CPU; 0 by a command
    runtime: str  #: what ran the network; ``"command"`` by a command
    batch: int  #: images in a pass
    image_size: int  #: their side in pixels

    @property
    def where(self) -> str:
        """Runtime, device and threads in words, or the command."""
        if self.runtime == COMMAND:
            return f"the device of {self.device}"
        return f"{self.runtime}, {on_threads(self.device, self.threads)}"

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
        """Why the network may take more than the allowed milliseconds."""
        how = "" if self.runtime == COMMAND else ", in a process of its own"
        slow = (
            f"timed again{how}, it takes {over_limit(self.milliseconds, allowed)}"
            if self.milliseconds > allowed
            else ""
        )
        return [why for why in (slow, self.busy_in_words) if why]


@dataclass(frozen=True)
class Timed:
    """How long a forward pass of an architecture takes, as a run stores it."""

    architecture: str
    latency: Latency
    again: bool = False  # in a process of its own

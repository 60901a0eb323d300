"""How far a run is: one event for every kind of run and every display."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        unit: What is counted, in a word: ``"architecture"``, ``"epoch"``, ``"image"``.
        done: How many are done, of all sessions.
        total: How many there will be; None where that is not known.
        resumed: How many earlier sessions did.
        seconds: Wall-clock time since this session began with them.
        state: What there is to say, in a few words.
        share: Share of the whole work that is done, where it is not ``done / total``.
        share_resumed: Share that earlier sessions did, likewise.
        record: What has just ended, such as a row of the run's table; None between two of them.
    """

    unit: str
    done: int
    total: int | None
    resumed: int = 0
    seconds: float = 0.0
    state: str = ""
    share: float | None = None
    share_resumed: float = 0.0
    record: object = None

    @property
    def part(self) -> float:
        """Share of the whole work that is done; NaN where nothing tells."""
        if self.share is not None:
            return self.share
        return self.done / self.total if self.total else math.nan

    @property
    def remaining(self) -> float:
        """Seconds to the end at the pace of this session; NaN before there is one."""
        before = self.share_resumed
        if self.share is None and self.total:
            before = self.resumed / self.total
        fresh = self.part - before
        return self.seconds / fresh * (1 - self.part) if fresh > 0 else math.nan


Tell = Callable[[Progress], None]


def ignore(_progress: Progress) -> None:
    """Tell nobody."""


def images_told(tell: Tell) -> Callable[[int, int], None]:
    """What to call as images are made or read, with how many are ready and will be."""
    return lambda done, total: tell(Progress("image", done, total))

"""The progress of a run: one event for every kind of run and every display."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class StageUnderWay:
    """The stage that a run of several is in."""

    name: str
    place: int  # from 1
    total: int  # stages of the run
    seconds: float  # since it began
    planned: float = math.nan  # seconds that it will take; NaN if unknown
    left: float = math.nan  # seconds of the whole run's time that are left; NaN without a plan

    def later(self, seconds: float) -> "StageUnderWay":
        """The same, so many seconds later."""
        return replace(self, seconds=self.seconds + seconds, left=self.left - seconds)


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    unit: str  # what is counted, in a word: ``"architecture"``, ``"epoch"``, ``"image"``
    done: int  # how many are done, of all sessions
    total: int | None  # how many there will be; None if unknown
    resumed: int = 0  # how many earlier sessions did
    seconds: float = 0.0  # wall-clock time since this session began with them
    state: str = ""  # the state in a few words
    # Share of the whole work that is done, where it is not ``done / total``.
    share: float | None = None
    share_resumed: float = 0.0  # share that earlier sessions did, likewise
    # Work after the last of them, such as finalists, in units that take as long.
    after: float = 0.0
    stage: StageUnderWay | None = None  # that all this is part of; unit "stage": it has begun
    # The result that has just ended, such as a row of the run's table; None between two results.
    record: object = None

    @property
    def part(self) -> float:
        """Share of the whole work that is done; NaN if unknown."""
        if self.share is not None:
            return self.share
        return self.done / self.total if self.total else math.nan

    @property
    def remaining(self) -> float:
        """Seconds to the end at the pace of this session; NaN before there is one."""
        before, whole = self.share_resumed, 1.0
        if self.share is None and self.total:
            before, whole = self.resumed / self.total, 1 + self.after / self.total
        fresh = self.part - before
        return self.seconds / fresh * (whole - self.part) if fresh > 0 else math.nan


Tell = Callable[[Progress], None]

#: Takes the rows of a run for trackers: the name of their series, a dataclass, and its number.
Track = Callable[[str, object, int], None]


def ignore(_progress: Progress) -> None:
    """Report to nobody."""


def untracked(_series: str, _row: object, _number: int) -> None:
    """Tell no tracker."""


def image_progress(tell: Tell) -> Callable[[int, int], None]:
    """A callback for images that are generated or read: it takes the numbers done and in total."""
    return lambda done, total: tell(Progress("image", done, total))

"""What a scaling has measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asvit.core.journal import Journal
from asvit.growth.result import ScaleResult
from asvit.growth.settings import ScaleSettings
from asvit.measuring.latency import Latency
from proxies import Score
from scaling import Shape


@dataclass(frozen=True)
class Timed:
    """How long a forward pass of an architecture takes."""

    architecture: str
    latency: Latency


@dataclass(frozen=True)
class Measured:
    """The scores of a shape."""

    depths: tuple[int, ...]
    width: int
    scores: Mapping[str, Score]


class GrowthJournal(Journal[ScaleSettings]):
    """The scores that a scaling has measured; looked up as :func:`scaling.grow` does.

    In a later session those of shapes of which every measure failed, perhaps for lack of memory,
    are left out.
    """

    result_type = ScaleResult
    record_types = (Measured, Timed)

    def __init__(self, *args: Any) -> None:
        self._scores: dict[Shape, Mapping[str, Score]] = {}
        self.latencies: dict[str, Latency] = {}  # by architecture
        super().__init__(*args)
        self._scores = {
            shape: scores
            for shape, scores in self._scores.items()
            if any(score.valid for score in scores.values())
        }

    def get(self, shape: Shape, /) -> Mapping[str, Score] | None:
        """The scores of ``shape`` as it was measured; None while they are unknown."""
        return self._scores.get(shape)

    def __setitem__(self, shape: Shape, scores: Mapping[str, Score], /) -> None:
        """Keep the scores of ``shape``."""
        self.add_record(Measured(shape.depths, shape.width, scores))

    def __len__(self) -> int:
        """Number of shapes with scores."""
        return len(self._scores)

    def note(self, record: Measured | Timed) -> None:
        """Take note of scores or of a time."""
        if isinstance(record, Timed):
            self.latencies[record.architecture] = record.latency
        else:
            self._scores[Shape(record.depths, record.width)] = record.scores

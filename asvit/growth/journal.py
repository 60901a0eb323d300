"""``measured.jsonl``: every model that a scaling has measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from asvit.core.codec import from_json
from asvit.core.journal import Journal
from asvit.core.records import score_from_json, score_to_json
from asvit.growth.settings import ScaleSettings
from proxies import Score
from scaling.shapes import Shape


class _Measured(TypedDict):
    depths: tuple[int, ...]
    width: int
    scores: Mapping[str, Any]


class GrowthJournal(Journal[ScaleSettings]):
    """The scores that a scaling has measured; looked up as :func:`scaling.grow` does."""

    kind = "scale"
    noun = "scaling"
    settings_type = ScaleSettings
    clock = "seconds"

    def __init__(self, *args: Any) -> None:
        self._scores: dict[Shape, Mapping[str, Score]] = {}
        super().__init__(*args)

    def get(self, shape: Shape, /) -> Mapping[str, Score] | None:
        """The scores of ``shape`` as it was measured; None while they are unknown."""
        return self._scores.get(shape)

    def __setitem__(self, shape: Shape, scores: Mapping[str, Score], /) -> None:
        """Keep the scores of ``shape``."""
        found = {name: score_to_json(score) for name, score in scores.items()}
        self.append({"depths": list(shape.depths), "width": shape.width, "scores": found})
        self._scores[shape] = scores

    def __len__(self) -> int:
        """Number of shapes with scores."""
        return len(self._scores)

    def take(self, record: Mapping[str, Any]) -> None:
        """Take in a record of the file."""
        found = from_json(record, _Measured)
        shape = Shape(found["depths"], found["width"])
        self._scores[shape] = {name: score_from_json(of) for name, of in found["scores"].items()}

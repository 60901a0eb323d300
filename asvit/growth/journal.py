"""What a scaling has measured."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from asvit.core.codec import from_json, to_json
from asvit.core.journal import Journal
from asvit.core.records import score_from_json, score_to_json
from asvit.core.versions import measure_versions
from asvit.growth.settings import ScaleSettings
from proxies import Score
from proxies.latency import Latency
from scaling import Shape
from scaling.shapes import shape_of


class _Timed(TypedDict):
    architecture: str
    latency: Latency


class _Measured(TypedDict):
    depths: tuple[int, ...]
    width: int
    expansions: NotRequired[tuple[int, ...]]
    scores: Mapping[str, Any]


class GrowthJournal(Journal[ScaleSettings]):
    """The scores that a scaling has measured; looked up as :func:`scaling.grow` does.

    Those of a measure whose code has changed since, by the versions before them, are left out.
    """

    kind = "scale"
    noun = "scaling"
    settings_type = ScaleSettings
    clock = "seconds"

    def __init__(self, *args: Any) -> None:
        self._scores: dict[Shape, Mapping[str, Score]] = {}
        self.latencies: dict[str, Latency] = {}  # by architecture
        super().__init__(*args)

    def get(self, shape: Shape, /) -> Mapping[str, Score] | None:
        """The scores of ``shape`` as it was measured; None while they are unknown."""
        return self._scores.get(shape)

    def __setitem__(self, shape: Shape, scores: Mapping[str, Score], /) -> None:
        """Keep the scores of ``shape``."""
        stored = {name: score_to_json(score) for name, score in scores.items()}
        more = {"expansions": list(shape.expansions)} if shape.expansions else {}
        sizes = {"depths": list(shape.depths), "width": shape.width, **more}
        self.append({**sizes, "scores": stored})
        self._scores[shape] = scores

    def keep_latency(self, architecture: str, latency: Latency) -> None:
        """Keep how long a forward pass takes."""
        self.append({"architecture": architecture, "latency": to_json(latency)})
        self.latencies[architecture] = latency

    def __len__(self) -> int:
        """Number of shapes with scores."""
        return len(self._scores)

    def take(self, record: Mapping[str, Any]) -> None:
        """Take in a record of the file."""
        if "latency" in record:
            timed = from_json(record, _Timed)
            self.latencies[timed["architecture"]] = timed["latency"]
            return
        measured = from_json(record, _Measured)
        shape = shape_of(measured["depths"], measured["width"], measured.get("expansions", ()))
        now = measure_versions(measured["scores"])
        if measure_versions(measured["scores"], self.versions or {}) == now:
            scores = {name: score_from_json(score) for name, score in measured["scores"].items()}
            self._scores[shape] = scores

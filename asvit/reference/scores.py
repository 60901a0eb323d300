"""``scores.jsonl``: the settings of a correlation, and every score of its networks.

One record per row of the table and batch of measures. A query for another measure adds records;
the other files of the run folder are derived from them.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from asvit.core.codec import from_json
from asvit.core.journal import Journal
from asvit.core.records import score_from_json, score_to_json
from asvit.core.settings import Images, check_same_digest
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable
from proxies import Score
from proxies.registry import sources_of


class _Table(TypedDict):
    name: str
    digest: str


class _OfSize(TypedDict):
    image_size: int
    images: Images


class _Scored(TypedDict):
    architecture: str
    seconds: float
    scores: Mapping[str, Any]
    sources: NotRequired[Mapping[str, str]]  # of the user's own measures


class ScoreJournal(Journal[CorrelationSettings]):
    """The scores of a table's architectures.

    Attributes:
        scores: Architecture to measure to score.
        images_of: Image size to the source and digest of its images.
        changed: Architecture to the measures whose scores are of other code than the present.
        seconds: Time spent measuring, over all sessions.
    """

    kind = "correlation"
    noun = "correlation"
    settings_type = CorrelationSettings
    start_types = {"table": _Table, "device": str}  # noqa: RUF012
    clock = ""

    def __init__(self, path: Path) -> None:
        self.scores: dict[str, dict[str, Score]] = {}
        self.images_of: dict[int, Mapping[str, str]] = {}
        self.changed: dict[str, set[str]] = {}
        super().__init__(path)

    def missing(
        self, architecture: str, measures: Iterable[str], *, failed: bool = False
    ) -> list[str]:
        """The measures without a score; with ``failed`` also those with an invalid one."""
        scores = self.scores.get(architecture, {})
        return [
            name for name in measures if name not in scores or (failed and not scores[name].valid)
        ]

    def check_table(self, table: ReferenceTable) -> None:
        """Check that scores, if any, are of this table."""
        folder, stored = self._file.path.parent, self.start_values.get("table")
        check_same_digest(folder, "with another table", "name", stored, table_id(table))

    def add_images(self, image_size: int, images: Mapping[str, str]) -> None:
        """Store the provenance of the images of this size, once."""
        if image_size not in self.images_of:
            self.append({"image_size": image_size, "images": dict(images)})
            self.images_of[image_size] = dict(images)

    def add(self, architecture: str, scores: Mapping[str, Score], seconds: float) -> None:
        """Store the scores of an architecture, which took ``seconds`` to measure."""
        records = {name: score_to_json(score) for name, score in scores.items()}
        seconds = round(seconds, 3)
        code = {"sources": own} if (own := sources_of(scores)) else {}
        self.append({"architecture": architecture, "seconds": seconds, "scores": records, **code})
        self._take_scores(architecture, scores)
        self.seconds += seconds

    def take(self, record: Mapping[str, Any]) -> None:
        """Read a record of the file."""
        if "images" in record:
            images = from_json(record, _OfSize)
            self.images_of[images["image_size"]] = cast("Mapping[str, str]", images["images"])
        else:
            entry = from_json(record, _Scored)
            scores = {name: score_from_json(of) for name, of in entry["scores"].items()}
            self._take_scores(entry["architecture"], scores, entry.get("sources", {}))
            self.seconds += entry["seconds"]

    def _take_scores(
        self, text: str, scores: Mapping[str, Score], sources: Mapping[str, str] | None = None
    ) -> None:
        """Add scores; ``sources`` is the code of their measures, the present code by default."""
        now = sources_of(scores)
        changed = self.changed.setdefault(text, set())
        for name, score in scores.items():
            if sources is None or sources.get(name, "") == now.get(name, ""):
                self.scores.setdefault(text, {})[name] = score
                changed.discard(name)
            elif name not in self.scores.get(text, {}):
                changed.add(name)


def table_id(table: ReferenceTable) -> dict[str, str]:
    """What identifies a table: its name, for people, and its digest."""
    return {"name": table.name, "digest": table.digest}

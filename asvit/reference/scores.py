"""``scores.jsonl``: the settings of a correlation, and every score of its networks.

One record per row of the table and batch of measures. A query for another measure adds records;
the other files of the run folder are derived from them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from asvit.core.continuing import Images, check_same_digest
from asvit.core.journal import Journal
from asvit.reference.result import CorrelationResult
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable
from proxies import Score


class _Table(TypedDict):
    name: str
    digest: str


@dataclass(frozen=True)
class ImagesOfSize:
    """The images of a side in pixels."""

    image_size: int
    images: Images


@dataclass(frozen=True)
class Scored:
    """Scores of an architecture, and the seconds that they took."""

    architecture: str
    seconds: float
    scores: Mapping[str, Score]


class ScoreJournal(Journal[CorrelationSettings]):
    """The scores of a table's architectures."""

    result_type = CorrelationResult
    start_types = {"table": _Table, "device": str}  # noqa: RUF012
    record_types = (ImagesOfSize, Scored)

    def __init__(self, path: Path) -> None:
        self.scores: dict[str, dict[str, Score]] = {}  #: architecture to measure to score
        self.images_of: dict[int, Mapping[str, str]] = {}  #: source and digest of images, by size
        self.measuring = 0.0  #: seconds spent measuring, over all sessions
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
        folder, stored = self._path.parent, self.start_values.get("table")
        check_same_digest(folder, "with another table", "name", stored, table_id(table))

    def note(self, record: ImagesOfSize | Scored) -> None:
        """Take note of images, or of scores."""
        if isinstance(record, ImagesOfSize):
            self.images_of[record.image_size] = cast("Mapping[str, str]", record.images)
            return
        self.measuring += record.seconds
        self.scores.setdefault(record.architecture, {}).update(record.scores)


def table_id(table: ReferenceTable) -> dict[str, str]:
    """What identifies a table: its name, for people, and its digest."""
    return {"name": table.name, "digest": table.digest}

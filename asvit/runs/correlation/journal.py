"""``scores.jsonl``: what the networks of a reference table were measured on, and every score.

One record a row of the table and a batch of measures. Asking for one more measure adds records;
everything else that a correlation shows follows from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from asvit._records import append_record, read_records, score_from_json, score_to_json
from asvit._run_files import SCORES
from asvit._types import check_values
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable
from asvit.settings import (
    ELSEWHERE,
    Images,
    check_same_device,
    check_same_images,
    check_same_settings,
)
from proxies import Score
from proxies.messages import one_line

SCHEMA_VERSION = 1
KIND = "correlation"


class ScoreJournal:
    """The scores of a table's architectures, kept in a file.

    Args:
        folder: Run folder. A record that was being written when its process was killed is cut
            off.

    Attributes:
        settings: How the networks are measured; None in a new journal.
        table: Name and digest of the table; None in a new journal.
        device: Where the networks are measured; None in a new journal.
        images: Image size to where the images came from and what they are, as far as they were
            needed.
        seconds: Time that measuring has taken in all.

    Raises:
        ValueError: If a line is no record of a correlation. Nothing is changed then.
        OSError: If the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / SCORES
        self._scores: dict[str, dict[str, Score]] = {}
        self.settings: CorrelationSettings | None = None
        self.table: Mapping[str, str] | None = None
        self.device: str | None = None
        self.images: dict[int, Mapping[str, str]] = {}
        self.seconds = 0.0
        read_records(self._path, self._take, what="a correlation")

    def score(self, architecture: str, measure: str) -> Score | None:
        """The score of an architecture; None while it is unknown."""
        return self._scores.get(architecture, {}).get(measure)

    def missing(
        self, architecture: str, measures: Iterable[str], *, failed: bool = False
    ) -> list[str]:
        """Those of the measures whose score is unknown, or with ``failed`` not valid."""
        known = self._scores.get(architecture, {})
        return [
            name for name in measures if name not in known or (failed and not known[name].valid)
        ]

    def check(self, settings: CorrelationSettings, table: ReferenceTable) -> None:
        """Check that the run in the folder is one of these settings and this table, or none.

        Raises:
            ValueError: If it is another one.
        """
        now = _identity(table)
        if self.table is not None and self.table["digest"] != now["digest"]:
            raise ValueError(
                f"run folder {self._folder} was started with another table: {_named(self.table)} "
                f"(now {_named(now)}); {ELSEWHERE}"
            )
        check_same_settings(self._folder, self.settings, settings)

    def start(self, settings: CorrelationSettings, table: ReferenceTable, device: str) -> None:
        """Keep what the run is started with, unless it is kept already.

        Raises:
            ValueError: If the run was started on another device.
            OSError: If it cannot be written.
        """
        check_same_device(self._folder, self.device, device)
        if self.settings is not None:
            return
        append_record(
            self._path,
            {
                "schema_version": SCHEMA_VERSION,
                "kind": KIND,
                "table": _identity(table),
                "settings": settings.to_json(),
                "device": device,
            },
        )
        self.settings, self.table, self.device = settings, _identity(table), device

    def keep_images(self, image_size: int, images: Mapping[str, str]) -> None:
        """Keep what the images of this size are.

        Raises:
            ValueError: If they were others in an earlier session.
            OSError: If it cannot be written.
        """
        check_same_images(self._folder, self.images.get(image_size), images)
        if image_size not in self.images:
            record = {"image_size": image_size, "images": dict(images)}
            append_record(self._path, record, started=self.settings is not None)
            self.images[image_size] = dict(images)

    def keep(self, architecture: str, scores: Mapping[str, Score], seconds: float) -> None:
        """Keep the scores of an architecture, which took so many seconds to measure.

        Raises:
            OSError: If they cannot be written. What was measured before is safe.
        """
        record = {
            "architecture": architecture,
            "seconds": round(seconds, 3),
            "scores": {name: score_to_json(score) for name, score in scores.items()},
        }
        append_record(self._path, record, started=self.settings is not None)
        self._scores.setdefault(architecture, {}).update(scores)
        self.seconds += round(seconds, 3)

    def _take(self, record: Mapping[str, Any]) -> None:
        """Take in one record of the file."""
        if "settings" in record:
            if (record["kind"], record["schema_version"]) != (KIND, SCHEMA_VERSION):
                raise ValueError(f"kind {record['kind']!r}, schema {record['schema_version']!r}")
            check_values(record, {"table": _Identity, "device": str})
            self.settings = CorrelationSettings.from_json(record["settings"])
            self.table, self.device = record["table"], record["device"]
        elif "images" in record:
            check_values(record, {"image_size": int, "images": Images})
            self.images[record["image_size"]] = record["images"]
        else:
            check_values(record, {"architecture": str, "seconds": float})
            scores = {name: score_from_json(of) for name, of in record["scores"].items()}
            self._scores.setdefault(record["architecture"], {}).update(scores)
            self.seconds += record["seconds"]


class _Identity(TypedDict):
    name: str
    digest: str


def _identity(table: ReferenceTable) -> dict[str, str]:
    """What a table is told by: another digest, another table."""
    return {"name": table.name, "digest": table.digest}


def _named(table: Mapping[str, str]) -> str:
    return f"{one_line(table['name'])}, digest {one_line(table['digest'][:12])}"

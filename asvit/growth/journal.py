"""``measured.jsonl``: what a scaling was asked to do, and every model it has measured.

One JSON object a line, on the disk before the next model is measured. The series follows from it:
growing again with these values measures nothing twice and takes the same way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit._records import append_record, read_records, score_from_json, score_to_json
from asvit._types import check_values
from asvit.growth.settings import ScaleSettings
from asvit.settings import Images
from scaling.shapes import Shape

if TYPE_CHECKING:
    from proxies import Score

SCHEMA_VERSION = 1
KIND = "scale"


class Journal:
    """The scores that a scaling has measured, kept in a file; looked up as ``grow`` does.

    Args:
        path: The file; it need not be there yet. A record that was being written when its
            process was killed is cut off, as it lacks its line end.

    Attributes:
        settings: What the run was started with, or last extended to; None in a new one.
        images: Where its images came from (``source``) and what they are (``digest``).
        device: Where its networks are measured.
        seconds: Wall-clock time of earlier sessions.

    Raises:
        ValueError: If a line is no record of a scaling. Nothing is changed then.
        OSError: If the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scores: dict[Shape, Mapping[str, Score]] = {}
        self._started = time.monotonic()
        self.settings: ScaleSettings | None = None
        self.images: Mapping[str, str] | None = None
        self.device: str | None = None
        self.seconds = 0.0
        read_records(path, self._take, what="a scaling")

    def __len__(self) -> int:
        return len(self._scores)

    def get(self, shape: Shape, /) -> Mapping[str, Score] | None:
        """The scores of ``shape`` as it was measured; None while they are unknown."""
        return self._scores.get(shape)

    def __setitem__(self, shape: Shape, scores: Mapping[str, Score], /) -> None:
        """Keep the scores of ``shape``.

        Raises:
            OSError: If they cannot be written. What was measured before is safe.
        """
        record = {
            "depths": list(shape.depths),
            "width": shape.width,
            "seconds": round(self.elapsed, 3),
            "scores": {name: score_to_json(score) for name, score in scores.items()},
        }
        append_record(self._path, record, started=self.settings is not None)
        self._scores[shape] = scores

    @property
    def elapsed(self) -> float:
        """Wall-clock time of all sessions so far."""
        return self.seconds + time.monotonic() - self._started

    def start(self, settings: ScaleSettings, images: Mapping[str, str], device: str) -> None:
        """Keep what the run is started with or extended to, after all of it was checked.

        Raises:
            OSError: If it cannot be written.
        """
        if (settings, images, device) == (self.settings, self.images, self.device):
            return
        append_record(
            self._path,
            {
                "schema_version": SCHEMA_VERSION,
                "kind": KIND,
                "settings": settings.to_json(),
                "images": dict(images),
                "device": device,
            },
        )
        self.settings, self.images, self.device = settings, dict(images), device

    def _take(self, record: Mapping[str, Any]) -> None:
        """Take in one record of the file."""
        if "settings" in record:
            if (record["kind"], record["schema_version"]) != (KIND, SCHEMA_VERSION):
                raise ValueError(f"kind {record['kind']!r}, schema {record['schema_version']!r}")
            check_values(record, {"images": Images, "device": str})
            self.settings = ScaleSettings.from_json(record["settings"])
            self.images, self.device = record["images"], record["device"]
            return
        check_values(record, {"depths": Sequence[int], "width": int, "seconds": float})
        shape = Shape(tuple(record["depths"]), record["width"])
        self._scores[shape] = {name: score_from_json(of) for name, of in record["scores"].items()}
        self.seconds = record["seconds"]

"""``measured.jsonl``: what a scaling was asked to do, and every model it has measured.

One JSON object a line, on the disk before the next model is measured. The series follows from it:
growing again with these values measures nothing twice and takes the same way.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.growth.settings import ScaleSettings
from scaling.shapes import Shape

if TYPE_CHECKING:
    from proxies import Score

logger = logging.getLogger(__name__)

NAME = "measured.jsonl"
SCHEMA_VERSION = 1
KIND = "scale"

_ADVICE = "restore it from a copy, or give --fresh to start over (nothing was changed)"
_LOST_NOTHING = (
    "the journal cannot be written; what was measured is safe, and the same command continues"
)


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
        if path.exists():
            self._read()

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
            "scores": {name: _plain(score) for name, score in scores.items()},
        }
        self._append(record)
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
        self._append(
            {
                "schema_version": SCHEMA_VERSION,
                "kind": KIND,
                "settings": settings.to_json(),
                "images": dict(images),
                "device": device,
            }
        )
        self.settings, self.images, self.device = settings, dict(images), device

    def _append(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(error.errno, f"{_LOST_NOTHING} ({error.strerror})") from error

    def _read(self) -> None:
        content = self._path.read_bytes()
        whole, end, tail = content.rpartition(b"\n")
        for number, line in enumerate(whole.split(b"\n") if end else (), start=1):
            try:
                self._take(json.loads(line))
            except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
                raise ValueError(
                    f"{self._path}, line {number} is not a record of a scaling; {_ADVICE}"
                ) from error
        if tail:
            with self._path.open("r+b") as file:
                file.truncate(len(content) - len(tail))
            logger.warning(
                "cut off %d bytes of an unfinished record at the end of %s", len(tail), self._path
            )

    def _take(self, record: Mapping[str, Any]) -> None:
        """Take in one record of the file."""
        if "settings" in record:
            if (record["kind"], record["schema_version"]) != (KIND, SCHEMA_VERSION):
                raise ValueError(f"kind {record['kind']!r}, schema {record['schema_version']!r}")
            self.settings = ScaleSettings.from_json(record["settings"])
            self.images, self.device = record["images"], record["device"]
            return
        shape = Shape(tuple(record["depths"]), record["width"])
        self._scores[shape] = {name: _score(of) for name, of in record["scores"].items()}
        self.seconds = record["seconds"]


def _plain(score: Score) -> dict[str, Any]:
    """``score`` in the types of strict JSON: None for what is not finite."""
    return {
        "value": _finite(score.value),
        "std": _finite(score.std),
        "values": [_finite(value) for value in score.values],
        "better": score.better,
        "reason": score.reason,
    }


def _score(content: Mapping[str, Any]) -> Score:
    from proxies import Score  # torch, which reading settings alone does not need

    return Score(
        value=_number(content["value"]),
        std=_number(content["std"]),
        values=tuple(_number(value) for value in content["values"]),
        better=content["better"],
        reason=content["reason"],
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value

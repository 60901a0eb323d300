"""``trainings.jsonl``: what a table is built with, and every finished training.

One JSON object a line, on the disk before the next training ends. The table follows from it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from asvit._records import append_record, finite, number, read_records
from asvit._types import check_types, check_values
from asvit.reference.recipe import BuildSettings
from asvit.settings import Images

SCHEMA_VERSION = 1
KIND = "reference"


class Training(NamedTuple):
    """One training of a table: of which architecture, by its text, and with which seed."""

    architecture: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Attributes:
        accuracy: On the test images, per cent; NaN if it failed.
        loss: Mean loss over the last tenth of the steps, nats; NaN if it failed.
        seconds: Wall-clock time of the training.
        reason: Why it failed, else empty.
    """

    accuracy: float
    loss: float
    seconds: float
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The outcome in the types of strict JSON: None for NaN."""
        return {
            "accuracy": finite(self.accuracy),
            "loss": finite(self.loss),
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Outcome:
        """Undo :meth:`to_json`.

        Raises:
            ValueError: If a part is something else, as the others of a malformed record.
        """
        outcome = cls(
            accuracy=number(content["accuracy"]),
            loss=number(content["loss"]),
            seconds=content["seconds"],
            reason=content["reason"],
        )
        check_types(outcome)
        return outcome


class Journal:
    """The finished trainings of a table, kept in a file.

    Args:
        path: The file; it need not be there yet. A record that was being written when its
            process was killed is cut off, as it lacks its line end.

    Attributes:
        outcomes: Every finished training.
        settings: What the run was started with, or last extended to; None in a new one.
        images: Where its images came from (``source``) and what they are (``digest``).
        num_classes: Classes of these images.
        device: Kind of device its networks are trained on, such as ``"cpu"``.
        seconds: Wall-clock time of all sessions up to the last record.

    Raises:
        ValueError: If a line is no record of such a table. Nothing is changed then.
        OSError: If the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = time.monotonic()
        self.outcomes: dict[Training, Outcome] = {}
        self.settings: BuildSettings | None = None
        self.images: Mapping[str, str] | None = None
        self.num_classes = 0
        self.device: str | None = None
        self.seconds = self._before = 0.0
        read_records(path, self._take, what="a reference table")
        self._before = self.seconds

    def start(
        self, settings: BuildSettings, images: Mapping[str, str], num_classes: int, device: str
    ) -> None:
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
                "num_classes": num_classes,
                "device": device,
            },
        )
        self.settings, self.images, self.device = settings, dict(images), device
        self.num_classes = num_classes

    def add(self, training: Training, outcome: Outcome) -> None:
        """Keep the outcome of a training.

        Raises:
            OSError: If it cannot be written. What was trained before is safe.
        """
        elapsed = round(self._before + time.monotonic() - self._started, 3)
        record = {**training._asdict(), **outcome.to_json(), "elapsed": elapsed}
        append_record(self._path, record, started=self.settings is not None)
        self.outcomes[training], self.seconds = outcome, elapsed

    def _take(self, record: Mapping[str, Any]) -> None:
        """Take in one record of the file."""
        if "settings" in record:
            if (record["kind"], record["schema_version"]) != (KIND, SCHEMA_VERSION):
                raise ValueError(f"kind {record['kind']!r}, schema {record['schema_version']!r}")
            check_values(record, {"images": Images, "device": str, "num_classes": int})
            self.settings = BuildSettings.from_json(record["settings"])
            self.images, self.device = record["images"], record["device"]
            self.num_classes = record["num_classes"]
            return
        check_values(record, {"architecture": str, "seed": int, "elapsed": float})
        training = Training(record["architecture"], record["seed"])
        self.outcomes[training] = Outcome.from_json(record)
        self.seconds = record["elapsed"]

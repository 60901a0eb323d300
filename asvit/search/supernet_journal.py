"""``accuracies.jsonl``: what an evolution was asked to do, and every accuracy it has taken.

One JSON object a line, on the disk before the next path is evaluated. All else follows: evolving
again with these accuracies evaluates nothing twice and takes the same way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Literal, TypedDict

from asvit._records import append_record, read_records
from asvit._types import check_values
from asvit.search.supernet_evolution import Path
from asvit.search.supernet_settings import EvolutionSettings

SCHEMA_VERSION = 1
KIND = "evolution"

Part = Literal["validation", "test"]


class Supernet(TypedDict):
    """The supernet whose weights are inherited.

    Attributes:
        folder: Its run folder.
        digest: SHA-256 of its weights, in hexadecimal digits.
    """

    folder: str
    digest: str


class Retrained(TypedDict):
    """What training the winner from scratch came to; None for what is not finite.

    Attributes:
        accuracy: On the test images, per cent.
        loss: Mean over the last epoch, nats.
        seconds: Wall-clock time.
        reason: Why it failed, else empty.
    """

    accuracy: float | None
    loss: float | None
    seconds: float
    reason: str


class Journal:
    """The accuracies of paths with inherited weights, kept in a file.

    Args:
        path: The file; it need not be there yet. A record that was being written when its
            process was killed is cut off, as it lacks its line end.

    Attributes:
        settings: What the run was started with, or last extended to; None in a new one.
        supernet: Folder of the supernet, and the digest of its weights.
        device: Kind of device its paths are evaluated on, such as ``"cpu"``.
        retrained: What training the winner from scratch came to; None while it was not.
        seconds: Wall-clock time of all sessions up to the last record.

    Raises:
        ValueError: If a line is no record of an evolution. Nothing is changed then.
        OSError: If the file cannot be read.
    """

    def __init__(self, path: FilePath) -> None:
        self._path = path
        self._accuracies: dict[tuple[Part, Path], float] = {}
        self._started = time.monotonic()
        self.settings: EvolutionSettings | None = None
        self.supernet: Mapping[str, str] | None = None
        self.device: str | None = None
        self.retrained: Mapping[str, Any] | None = None
        self.seconds = self._before = 0.0
        read_records(path, self._take, what="an evolution")
        self._before = self.seconds

    def __len__(self) -> int:
        return len(self._accuracies)

    def get(self, part: Part, path: Path) -> float | None:
        """The accuracy of a path on a part of the images, per cent; None while unknown."""
        return self._accuracies.get((part, path))

    def start(self, settings: EvolutionSettings, supernet: Mapping[str, str], device: str) -> None:
        """Keep what the run is started with or extended to, after all of it was checked.

        Raises:
            OSError: If it cannot be written.
        """
        if (settings, supernet, device) == (self.settings, self.supernet, self.device):
            return
        self._append(
            {
                "schema_version": SCHEMA_VERSION,
                "kind": KIND,
                "settings": settings.to_json(),
                "supernet": dict(supernet),
                "device": device,
            }
        )
        self.settings, self.supernet, self.device = settings, dict(supernet), device
        self.retrained = None  # of another winner, perhaps

    def add(self, part: Part, path: Path, accuracy: float) -> None:
        """Keep the accuracy of a path.

        Raises:
            OSError: If it cannot be written. What was evaluated before is safe.
        """
        self._append({"part": part, "path": list(path), "accuracy": accuracy})
        self._accuracies[part, path] = accuracy

    def add_retrained(self, outcome: Mapping[str, Any]) -> None:
        """Keep what training the winner from scratch came to.

        Raises:
            OSError: If it cannot be written.
        """
        self._append({"retrained": dict(outcome)})
        self.retrained = dict(outcome)

    def _append(self, record: Mapping[str, Any]) -> None:
        elapsed = round(self._before + time.monotonic() - self._started, 3)
        started = self.settings is not None
        append_record(self._path, {**record, "elapsed": elapsed}, started=started)
        self.seconds = elapsed

    def _take(self, record: Mapping[str, Any]) -> None:
        """Take in one record of the file."""
        check_values(record, {"elapsed": float})
        if "settings" in record:
            if (record["kind"], record["schema_version"]) != (KIND, SCHEMA_VERSION):
                raise ValueError(f"kind {record['kind']!r}, schema {record['schema_version']!r}")
            check_values(record, {"supernet": Supernet, "device": str})
            self.settings = EvolutionSettings.from_json(record["settings"])
            self.supernet, self.device = record["supernet"], record["device"]
            self.retrained = None  # of another winner, perhaps
        elif "retrained" in record:
            check_values(record, {"retrained": Retrained})
            self.retrained = record["retrained"]
        else:
            check_values(record, {"part": Part, "path": Sequence[str], "accuracy": float})
            key = record["part"], tuple(record["path"])
            self._accuracies[key] = float(record["accuracy"])
        self.seconds = record["elapsed"]

"""The result of training a supernet, and its form in result.json."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from asvit.runs.result_file import StoredResult
from asvit.training.supernets.file import KIND, SCHEMA_VERSION
from asvit.training.supernets.settings import SupernetSettings

PROVENANCE = ("images", "device", "versions", "command")


@dataclass(frozen=True)
class Spread:
    """Accuracies of several paths with inherited weights, per cent.

    Attributes:
        paths: How many.
        lowest: The lowest.
        median: The median.
        highest: The highest.
    """

    paths: int
    lowest: float
    median: float
    highest: float

    @classmethod
    def of(cls, accuracies: Sequence[float]) -> Self:
        """The spread of these accuracies, of which there is one at least."""
        middle = statistics.median(accuracies)
        return cls(len(accuracies), min(accuracies), middle, max(accuracies))


@dataclass(frozen=True)
class SupernetResult(StoredResult, kind=KIND, schema=SCHEMA_VERSION, what="a supernet"):
    """A supernet that was trained.

    Attributes:
        folder: Run folder.
        losses: Mean training loss of each epoch, nats.
        num_classes: Classes of the images.
        accuracy: Of paths drawn as training draws them, on the validation images.
        params: Parameters of all paths together.
        wall_seconds: Wall-clock time of all sessions.
        settings: Settings of the training.
        provenance: Image source and digest, device, versions and the command.
        next_command: What to type next.
    """

    folder: Path
    losses: Sequence[float]
    num_classes: int
    accuracy: Spread
    params: int
    wall_seconds: float
    settings: SupernetSettings
    provenance: Mapping[str, Any]
    next_command: str

    def to_json(self) -> dict[str, Any]:
        """The content of result.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "space": self.settings.space,
            "num_classes": self.num_classes,
            "params": self.params,
            "losses": [round(loss, 6) for loss in self.losses],
            "accuracy": asdict(self.accuracy),
            "wall_seconds": round(self.wall_seconds, 3),
            "settings": self.settings.to_json(),
            **self.provenance,
            "next_command": self.next_command,
        }

    @classmethod
    def _from_json(cls, content: Mapping[str, Any], folder: Path) -> Self:
        if content["num_classes"] < 1 or not content["losses"]:
            raise ValueError("a supernet has classes and epochs")
        return cls(
            folder=folder,
            losses=content["losses"],
            num_classes=content["num_classes"],
            accuracy=Spread(**content["accuracy"]),
            params=content["params"],
            wall_seconds=content["wall_seconds"],
            settings=SupernetSettings.from_json(content["settings"]),
            provenance={name: content[name] for name in PROVENANCE},
            next_command=content["next_command"],
        )

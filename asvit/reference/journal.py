"""``trainings.jsonl``: what a table is built with, and every finished training.

The table follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from asvit.core.codec import Nullable, from_json, to_json, value_from_json
from asvit.core.journal import Journal
from asvit.core.settings import Images
from asvit.reference.build_settings import BuildSettings


class Training(NamedTuple):
    """One training of a table: of which architecture, by its text, and with which seed."""

    architecture: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """The outcome of a training.

    Attributes:
        accuracy: On the test images, per cent; NaN if it failed.
        loss: Mean loss over the last tenth of the steps, nats; NaN if it failed.
        seconds: Wall-clock time of the training.
        reason: Why it failed, else empty.
    """

    accuracy: Nullable
    loss: Nullable
    seconds: float
    reason: str = ""


class TrainingJournal(Journal[BuildSettings]):
    """The finished trainings of a table.

    Attributes:
        outcomes: Every finished training.
    """

    kind = "reference"
    noun = "reference table"
    settings_type = BuildSettings
    start_types: ClassVar[Mapping[str, Any]] = {
        "images": Images,
        "num_classes": int,
        "device": str,
    }

    def __init__(self, *args: Any) -> None:
        self.outcomes: dict[Training, Outcome] = {}
        super().__init__(*args)

    @property
    def num_classes(self) -> int:
        """Classes of the images; 0 in a new journal."""
        return int(self.start_values.get("num_classes", 0))

    def add(self, training: Training, outcome: Outcome) -> None:
        """Keep the outcome of a training.

        Raises:
            OSError: If it cannot be written. What was trained before is safe.
        """
        self.append({**training._asdict(), **to_json(outcome)})
        self.outcomes[training] = outcome

    def take(self, record: Mapping[str, Any]) -> None:
        """Take in a record of the file."""
        training = value_from_json([record["architecture"], record["seed"]], tuple[str, int])
        self.outcomes[Training(*training)] = from_json(record, Outcome)

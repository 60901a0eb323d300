"""``accuracies.jsonl``: settings of an evolution, and every accuracy that it has measured.

All else follows: evolving again with these accuracies evaluates nothing twice and takes the same
way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

from asvit.core.codec import from_json, to_json
from asvit.core.journal import Journal
from asvit.search.supernet_settings import EvolutionSettings

if TYPE_CHECKING:
    from asvit.search.supernet_evolution import Path

Part = Literal["validation", "test"]


class SupernetOrigin(TypedDict):
    """The supernet whose weights are inherited.

    Attributes:
        folder: Its run folder.
        digest: SHA-256 of its weights, in hexadecimal digits.
    """

    folder: str
    digest: str


@dataclass(frozen=True)
class Retrained:
    """The outcome of training the winner from scratch; None for what is not finite.

    Attributes:
        accuracy: On the test images, per cent.
        loss: Mean over the last epoch, nats.
        seconds: Wall-clock time.
        reason: Why it failed, else empty.
        architecture: Text of the winner.
    """

    accuracy: float | None
    loss: float | None
    seconds: float
    reason: str
    architecture: str = ""


class _Accuracy(TypedDict):
    part: Part
    path: tuple[str, ...]
    accuracy: float


class AccuracyJournal(Journal[EvolutionSettings]):
    """The accuracies of paths with inherited weights.

    Attributes:
        retrained: The outcome of training the winner from scratch; None before.
    """

    kind = "evolution"
    noun = "evolution"
    settings_type = EvolutionSettings
    start_types: ClassVar[Mapping[str, Any]] = {"supernet": SupernetOrigin, "device": str}
    timed_start = True

    def __init__(self, *args: Any) -> None:
        self._accuracies: dict[tuple[Part, Path], float] = {}
        self.retrained: Retrained | None = None
        super().__init__(*args)

    def __len__(self) -> int:
        return len(self._accuracies)

    @property
    def supernet(self) -> SupernetOrigin | None:
        """Folder of the supernet, and the digest of its weights."""
        return self.start_values.get("supernet")

    def get(self, part: Part, path: Path) -> float | None:
        """The accuracy of a path on a part of the images, per cent; None while unknown."""
        return self._accuracies.get((part, path))

    def add(self, part: Part, path: Path, accuracy: float) -> None:
        """Keep the accuracy of a path.

        Raises:
            OSError: If it cannot be written. What was evaluated before is safe.
        """
        self.append({"part": part, "path": list(path), "accuracy": accuracy})
        self._accuracies[part, path] = accuracy

    def add_retrained(self, outcome: Retrained) -> None:
        """Keep the outcome of training the winner from scratch.

        Raises:
            OSError: If it cannot be written.
        """
        self.append({"retrained": to_json(outcome)})
        self.retrained = outcome

    def started(self) -> None:
        """Forget a retrained winner: an extended run may have another."""
        self.retrained = None

    def take(self, record: Mapping[str, Any]) -> None:
        """Take in a record of the file."""
        if "retrained" in record:
            self.retrained = from_json(record["retrained"], Retrained)
        else:
            found = from_json(record, _Accuracy)
            self._accuracies[found["part"], found["path"]] = float(found["accuracy"])

"""What a run continues from: what it was started with, and what is known since."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from asvit.core.settings import Settings

S = TypeVar("S", bound=Settings)


class Store(Generic[S]):
    """What is on the disk of a run: of all its sessions, or nothing yet.

    A kind of run adds what is known since the start, and how one more result is stored: a journal
    has records, a training its last checkpoint, a search an Optuna study.
    """

    #: What the run was started with, or last extended to; None before its start.
    settings: S | None = None
    #: What else, by name: ``images``, ``device``, ``versions`` and what the kind adds.
    start_values: Mapping[str, Any] = {}

    seconds: float = 0.0  #: wall-clock time of all sessions up to the last result stored

    @property
    def elapsed(self) -> float:
        """Wall-clock time of all sessions until now."""
        return self.seconds

    def start(self, settings: S, **values: Any) -> None:
        """Store what the run is started with or extended to, after all of it was checked."""
        raise NotImplementedError

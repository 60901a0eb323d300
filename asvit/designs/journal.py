"""The journal of a design, with the results of its finished stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_type_hints

from asvit.core.codec import to_json, value_from_json
from asvit.core.journal import Journal
from asvit.designs.result import DesignResult
from asvit.designs.settings import DesignSettings
from asvit.designs.stages import FINALISTS, PRETRAINED, StageResults, TrainingOutcome


@dataclass(frozen=True)
class Stage:
    """The result of a finished stage, under its name; empty where it had nothing to do."""

    name: str
    result: Mapping[str, Any]


class DesignJournal(Journal[DesignSettings]):
    """The finished stages of a design."""

    result_type = DesignResult
    record_types = (Stage,)
    start_types: ClassVar[Mapping[str, Any]] = {"device": str}

    def __init__(self, *args: Any) -> None:
        self.results = StageResults()  #: of the finished stages
        super().__init__(*args)

    def add_result(self, name: str, result: object) -> None:
        """Store what a finished stage came to; None where it had nothing to do."""
        self.add_record(Stage(name, {} if result is None else to_json(result)))

    def note(self, record: Stage) -> None:
        """Take note of a finished stage."""
        super().note(record)
        name, stored = record.name, record.result
        self.results[name] = value_from_json(stored, _TYPES[name]) if stored else None


_TYPES: Mapping[str, Any] = {
    **get_type_hints(StageResults),
    **dict.fromkeys((*FINALISTS, *PRETRAINED), TrainingOutcome),
}

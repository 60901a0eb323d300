"""What the finished stages of a design came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from asvit.core.journal import Journal
from asvit.designs.settings import DesignSettings


@dataclass(frozen=True)
class Stage:
    """The result of a finished stage, under its name."""

    name: str
    result: Mapping[str, Any]


class DesignJournal(Journal[DesignSettings]):
    """The finished stages of a design."""

    kind = "design"
    noun = "design"
    settings_type = DesignSettings
    record_types = (Stage,)
    start_types: ClassVar[Mapping[str, Any]] = {"device": str}

    def result_of(self, name: str) -> Mapping[str, Any] | None:
        """The result of a stage; None while it has not finished."""
        return next((stage.result for stage in self.records if stage.name == name), None)

"""What the finished stages of a design came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from asvit.core.journal import Journal
from asvit.designs.settings import DesignSettings


@dataclass(frozen=True)
class Stage:
    """What a finished stage has found, under its name."""

    name: str
    found: Mapping[str, Any]


class DesignJournal(Journal[DesignSettings]):
    """The finished stages of a design."""

    kind = "design"
    noun = "design"
    settings_type = DesignSettings
    record_type = Stage
    start_types: ClassVar[Mapping[str, Any]] = {"device": str}

    def found(self, name: str) -> Mapping[str, Any] | None:
        """What a stage has found; None while it has not finished."""
        return next((one.found for one in self.records if one.name == name), None)

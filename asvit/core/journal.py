"""The journal of a run: what it was asked to do, and every result so far, one record a line.

Each record is on the disk before the next one is made. All else in the run folder follows from
them: a run that was stopped measures nothing twice and takes the same way.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from asvit.core.codec import check_schema, from_json, to_json, value_from_json
from asvit.core.continuing import Images
from asvit.core.records import append_record, read_records
from asvit.core.results import Result, article
from asvit.core.store import S, Store

_TIME = "elapsed"  # seconds of all sessions, in every record


class Journal(Store[S]):
    """Records in a file. A kind of run says what they hold, and what it makes of them.

    The file need not be there. A record that was being written when its process was killed is cut
    off, as it lacks its line end.

    Raises:
        ValueError: If a line is no record of this kind. Nothing is changed then.
        OSError: If the file cannot be read.
    """

    result_type: ClassVar[type[Result]]  # of its kind of run, whose name and settings it has
    schema_version: ClassVar[int] = 1
    record_types: ClassVar[tuple[type, ...]]  # dataclasses of its records, which name their class
    start_types: ClassVar[Mapping[str, Any]] = {"images": Images, "device": str}

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = time.monotonic()
        self._before = 0.0
        self.records: list[Any] = []  #: in their order, unless the kind notes them otherwise
        self.seconds = 0.0  #: wall-clock time of all sessions up to the last record
        read_records(path, self._take, what=article(self.result_type.noun))
        self._before = self.seconds

    @classmethod
    def of(cls, result: type[Result], record: Any, **start: Any) -> Any:
        """The class of journals of a kind of run that hold records of one class.

        Args:
            result: The kind's result, which has its name and its settings.
            record: A dataclass: what is known of one step.
            **start: Types of what else a run is started with, by name.
        """
        own = {"result_type": result, "record_types": (record,), "start_types": start}
        own["__module__"] = record.__module__  # not this one
        return type(f"{record.__name__}Journal", (cls,), own)

    @property
    def images(self) -> Mapping[str, str] | None:
        """Where its images came from (``source``) and what they are (``digest``)."""
        return self.start_values.get("images")

    @property
    def device(self) -> str | None:
        """Where it runs."""
        return self.start_values.get("device")

    @property
    def elapsed(self) -> float:
        """Wall-clock time of all sessions until now."""
        return self._before + time.monotonic() - self._started

    def add_time(self, seconds: float) -> None:
        """Count time of an earlier session that no record has."""
        self._before += seconds

    def start(self, settings: S, **values: Any) -> None:
        """As the base says; nothing is written where nothing has changed."""
        if (settings, values) == (self.settings, self.start_values):
            return
        head = {"schema_version": self.schema_version, "kind": self.result_type.kind}
        append_record(self._path, {**head, "settings": settings.to_json(), **values})
        self.settings, self.start_values = settings, values

    def add_record(self, record: Any) -> None:
        """Store a record, one of the kind's classes, with the time that all sessions took."""
        seconds = round(self.elapsed, 3)
        line = {"record": type(record).__name__, **to_json(record), _TIME: seconds}
        append_record(self._path, line, started=self.settings is not None)
        self.seconds = seconds
        self.note(record)

    def note(self, record: Any) -> None:
        """Take note of a record that is stored, by this session or an earlier one."""
        self.records.append(record)

    def _take(self, line: Mapping[str, Any]) -> None:
        if "settings" not in line:
            self.seconds = value_from_json(line[_TIME], float)
            classes = {kind.__name__: kind for kind in self.record_types}
            self.note(from_json(line, classes[line["record"]]))
            return
        check_schema(line, self.result_type.kind, self.schema_version)
        self.settings = get_type_hints(self.result_type)["settings"].from_json(line["settings"])
        self.start_values = {
            name: value_from_json(line[name], declared)
            for name, declared in {**self.start_types, "versions": Mapping[str, str]}.items()
        }

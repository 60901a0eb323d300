"""``result.json`` of any run: written whole, and refused where it is another run's."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from asvit._files import write_text
from asvit._records import MALFORMED, parse_json
from asvit._types import check_types
from proxies.messages import first_line, shown


def write_result(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` at ``path`` as a whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


class StoredResult(ABC):
    """Base of the results of runs.

    Subclasses name themselves in their class line: ``kind``, what the file says that it is of;
    ``schema``, version of its form; ``what``, in words, it is the result of.
    """

    _kind: ClassVar[str]
    _schema: ClassVar[int]
    _what: ClassVar[str]

    def __init_subclass__(cls, *, kind: str, schema: int, what: str) -> None:
        super().__init_subclass__()
        cls._kind, cls._schema, cls._what = kind, schema, what

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The content of result.json."""

    @classmethod
    @abstractmethod
    def _from_json(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """Undo :meth:`to_json`, for a file in this folder."""

    def write(self, path: Path) -> None:
        """Write result.json at ``path`` as a whole or not at all.

        Raises:
            OSError: If it cannot be written.
        """
        write_result(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read ``path`` back.

        Raises:
            FileNotFoundError: If there is no such file, or none that is needed beside it.
            ValueError: If it is another kind of result, of a newer version, or holds a value of
                another type than it should.
        """
        try:
            content = parse_json(path.read_bytes())
            if (content["kind"], content["schema_version"]) != (cls._kind, cls._schema):
                raise ValueError(
                    f"kind {shown(content['kind'])}, schema {shown(content['schema_version'])}"
                )
            found = cls._from_json(content, path.parent)
            check_types(found)
            found.to_json()  # where a part lacks that the others are made of
            return found
        except MALFORMED as error:
            raise ValueError(
                f"{path} is not the result of {cls._what} that this version can read: "
                f"{first_line(error)}"
            ) from error

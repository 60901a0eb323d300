"""``result.json`` of any run: written whole, and refused where it is another run's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from asvit._files import write_text

R = TypeVar("R")


def write_result(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` at ``path`` as a whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_result(
    path: Path,
    make: Callable[[Mapping[str, Any]], R],
    *,
    kind: str,
    schema: int,
    what: str,
) -> R:
    """Read a result back.

    Args:
        path: Its file.
        make: Makes the result of the content.
        kind: What the content must say that it is of.
        schema: Version of the form that is understood.
        what: What it is the result of, for the message.

    Raises:
        FileNotFoundError: If there is no such file, or none that ``make`` needs beside it.
        ValueError: If it is another kind of result, or of a newer version.
    """
    try:
        content = json.loads(path.read_bytes())
        if (content["kind"], content["schema_version"]) != (kind, schema):
            raise ValueError(f"kind {content['kind']!r}, schema {content['schema_version']!r}")
        return make(content)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not the result of {what} that this version can read: {error}"
        ) from error

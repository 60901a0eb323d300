"""What commands write for programs: strictly valid JSON on stdout or in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path, PurePath
from typing import Any

import click

from asvit.core.files import write_text


def emit_json(data: object) -> None:
    """Write ``data`` on stdout as JSON that every parser takes: NaN and infinity become null."""
    click.echo(_json(data))


def write_json(path: Path, data: object) -> None:
    """Write ``data`` at ``path`` in the same form, as a whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    write_text(path, _json(data) + "\n")


def _json(data: object) -> str:
    return json.dumps(plain(data), indent=2, allow_nan=False)


def plain(value: object) -> Any:
    """``value`` in the types of JSON: dataclasses as objects, paths as text, numbers finite."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"no JSON form for {type(value).__name__}: {value!r}")

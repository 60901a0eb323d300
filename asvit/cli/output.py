"""What commands write for programs: strictly valid JSON on stdout or in a file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asvit.core.codec import to_json
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
    return json.dumps(to_json(data), indent=2, allow_nan=False)

"""Safetensors files with a header of ours: tensors by name, and what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from asvit._files import write_bytes
from asvit._records import parse_json

_HEADER = "asvit"  # safetensors holds text by name beside the tensors


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a file that is there whole, or as it was.

    Args:
        path: The file.
        tensors: By their names; no two may share memory.
        header: What they are, of the types of JSON.

    Raises:
        ValueError: If a number of the header is not finite.
        OSError: If it cannot be written.
    """
    write_bytes(path, save(dict(tensors), {_HEADER: json.dumps(header, allow_nan=False)}))


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors of a file that :func:`write_tensors` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        SafetensorError: If it is damaged, or something else.
        ValueError: If the header is no JSON, or there is none.
    """
    header, tensors = read_any_tensors(path)
    if header is None:
        raise ValueError("weights that do not say what they are of")
    return header, tensors


def read_any_tensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """The same of any safetensors file; the header of one that is not ours is None.

    Raises:
        FileNotFoundError: If there is no such file.
        SafetensorError: If it is damaged, or something else.
        ValueError: If the header is no JSON.
    """
    with _openable(path) as name, safe_open(name, "pt") as file:
        text = (file.metadata() or {}).get(_HEADER)
        header = None if text is None else parse_json(text)
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _openable(path: Path) -> Iterator[str]:
    """A name under which safetensors, which takes Unicode alone, can open the file."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield str(path)

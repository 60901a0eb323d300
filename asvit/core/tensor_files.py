"""Safetensors files with our JSON header: tensors by name, and what they belong to."""

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from asvit.core.files import check_plain, write_bytes
from asvit.core.records import parse_json

_HEADER = "asvit"  # key in the metadata of safetensors, which holds strings only
_DIGEST = "sha256"  # the first key of the header, but in files of versions without digests
_OLDER = ("schema_version", "architecture")  # the first key in those
_UNKNOWN = "0" * 64  # stands for the digest in what the digest is of
_WRITTEN = re.compile(rb'\{\\"sha256\\": \\"([0-9a-f]{64})\\"')  # JSON in a string of JSON


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
    *,
    previous: Path | None = None,
) -> None:
    """Write tensors, of which no two may share memory, and a header of JSON types, atomically.

    With them goes a SHA-256 of the whole file, which reading checks. The old file is kept as
    ``previous``, if that is given.
    """
    text = json.dumps({_DIGEST: _UNKNOWN, **header}, allow_nan=False)
    content = save(dict(tensors), {_HEADER: text})
    digest = hashlib.sha256(content).hexdigest()
    start = content.index(_UNKNOWN.encode())
    rest = memoryview(content)[start + len(digest) :]
    write_bytes(path, content[:start], digest.encode(), rest, previous=previous)


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read header and tensors of a file written by :func:`write_tensors`.

    Raises:
        SafetensorError: As :func:`read_any_tensors`.
        ValueError: If there is no header, too.
    """
    check_plain(path)  # unlike weights that a user names, which may lie behind a link
    header, tensors = read_any_tensors(path)
    if header is None:
        raise ValueError("the weights have no header of ours")
    return header, tensors


def read_any_tensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """Read any safetensors file; the header is None if :func:`write_tensors` did not write it.

    Raises:
        FileNotFoundError: If there is no such file.
        SafetensorError: If it is damaged or not a safetensors file.
        ValueError: If the header is not JSON, or the digest another one.
    """
    with _openable(path) as name, safe_open(name, "pt") as file:
        checked = _check_digest(path)
        text = (file.metadata() or {}).get(_HEADER)
        header = None if text is None else parse_json(text)
        if checked and header is not None:
            del header[_DIGEST]
        elif header is not None and next(iter(header), None) not in _OLDER:
            raise ValueError("the header is damaged")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if sys.platform == "win32":  # which lets nobody replace a mapped file, as these are
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        return header, tensors


def _check_digest(path: Path) -> bool:
    """Check the digest of a file; False if it has none."""
    with path.open("rb") as file:
        length = file.read(8)
        head = length + file.read(int.from_bytes(length, "little"))
        found = _WRITTEN.search(head)
        if found is None:
            return False
        start, end = found.span(1)
        total = hashlib.sha256(head[:start] + _UNKNOWN.encode() + head[end:])
        hashlib.file_digest(file, lambda: total)
    if total.hexdigest() != found[1].decode():
        raise ValueError("its content is not what was written: the digest is another one")
    return True


@contextmanager
def _openable(path: Path) -> Iterator[str]:
    """A name that safetensors, which accepts only valid Unicode, can open."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield str(path)

"""The SHA-256 that a file holds of itself: of its content with zeros in the digest's place."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from io import BufferedReader
from typing import Any, Final

from asvit.core.records import parse_json

#: The first key of the JSON object in which the digest stands.
FIELD: Final = "sha256"
UNKNOWN: Final = "0" * 64  #: stands for the digest in what the digest is of

# The object itself, or as a text in JSON.
_WRITTEN = re.compile(rb'\{\s*(\\?)"sha256\1": \1"([0-9a-f]{64})\1"')
_HEX = re.compile("[0-9a-f]{64}")


def sealed(content: bytes) -> tuple[bytes | memoryview, ...]:
    """The parts of ``content``, whose first :data:`UNKNOWN` becomes its digest."""
    start = content.index(UNKNOWN.encode())
    whole = memoryview(content)
    digest = hashlib.sha256(content).hexdigest().encode()
    return whole[:start], digest, whole[start + len(digest) :]


def check_digest(content: bytes, rest: BufferedReader | None = None) -> bool:
    """Check the digest in ``content``, which ``rest`` continues; False if there is none.

    Raises:
        ValueError: If the digest is of another content.
    """
    found = _WRITTEN.search(content)
    if found is None:
        return False
    whole, (start, end) = memoryview(content), found.span(2)
    total = hashlib.sha256(whole[:start])
    total.update(UNKNOWN.encode())
    total.update(whole[end:])
    if rest is not None:
        hashlib.file_digest(rest, lambda: total)
    if total.hexdigest() != found[2].decode():
        raise ValueError("its content is not what was written: the digest is another one")
    return True


def without_digest(
    about: Mapping[str, Any], *, checked: bool, older: Iterable[str]
) -> dict[str, Any]:
    """The object in which the digest stood, without it.

    Args:
        about: The object.
        checked: Whether there was a digest.
        older: First keys of such objects in files of versions without digests.

    Raises:
        ValueError: If the file is of neither kind: the digest's place is damaged.
    """
    first = next(iter(about), None)
    if first != FIELD if checked else first not in tuple(older):
        raise ValueError("the header is damaged")
    return {name: value for name, value in about.items() if not (checked and name == FIELD)}


def sealed_json(content: Mapping[str, Any]) -> tuple[bytes | memoryview, ...]:
    """The parts of the text of a JSON object with a digest, over several lines."""
    text = json.dumps({FIELD: UNKNOWN, **content}, indent=2, allow_nan=False)
    return sealed(f"{text}\n".encode())


def read_sealed_json(data: bytes) -> Any:
    """The content of :func:`sealed_json`, or of JSON without a digest.

    Raises:
        ValueError: If it is damaged.
        RecursionError: If it is nested a thousand times.
    """
    checked = _WRITTEN.match(data) is not None and check_digest(data)
    content = parse_json(data)
    if not (isinstance(content, dict) and content):
        return content
    first, value = next(iter(content.items()))
    if not checked and (FIELD in content or _HEX.fullmatch(str(value))):
        raise ValueError("its digest is damaged")
    return {name: one for name, one in content.items() if not (checked and name == first)}

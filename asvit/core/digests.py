"""The SHA-256 that a file holds of itself: of its content with zeros in the digest's place."""

import hashlib
import json
import re
from collections.abc import Mapping
from io import BufferedReader
from typing import Any, Final

from asvit.core.codec import OTHER_VERSION
from asvit.core.records import parse_json

#: The first key of the JSON object in which the digest stands.
FIELD: Final = "sha256"
UNKNOWN: Final = "0" * 64  #: stands for the digest in what the digest is of

# The object itself, or as a text in JSON.
_WRITTEN = re.compile(rb'\{\s*(\\?)"sha256\1": \1"([0-9a-f]{64})\1"')


def sealed(content: bytes) -> tuple[bytes | memoryview, ...]:
    """The parts of ``content``, whose first :data:`UNKNOWN` becomes its digest."""
    start = content.index(UNKNOWN.encode())
    whole = memoryview(content)
    digest = hashlib.sha256(content).hexdigest().encode()
    return whole[:start], digest, whole[start + len(digest) :]


def check_digest(content: bytes, rest: BufferedReader | None = None) -> bool:
    """Check the digest in ``content``, which ``rest`` continues; False if there is none."""
    match = _WRITTEN.search(content)
    if match is None:
        return False
    whole, (start, end) = memoryview(content), match.span(2)
    total = hashlib.sha256(whole[:start])
    total.update(UNKNOWN.encode())
    total.update(whole[end:])
    if rest is not None:
        hashlib.file_digest(rest, lambda: total)
    if total.hexdigest() != match[2].decode():
        raise ValueError("its content is not what was written: the digest is another one")
    return True


def without_digest(about: Mapping[str, Any], *, checked: bool) -> dict[str, Any]:
    """The object without its digest, which must have been ``checked``."""
    if not checked or next(iter(about), None) != FIELD:
        raise ValueError(f"it has no digest: it is damaged, or {OTHER_VERSION}")
    return {name: value for name, value in about.items() if name != FIELD}


def sealed_json(content: Mapping[str, Any]) -> tuple[bytes | memoryview, ...]:
    """The parts of the text of a JSON object with a digest, over several lines."""
    text = json.dumps({FIELD: UNKNOWN, **content}, indent=2, allow_nan=False)
    return sealed(f"{text}\n".encode())


def read_sealed_json(data: bytes) -> dict[str, Any]:
    """The content of :func:`sealed_json`."""
    return without_digest(parse_json(data), checked=check_digest(data))

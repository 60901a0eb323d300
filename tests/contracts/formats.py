"""Formats of files: the JSON inside, how it is put back with right sums, and typical damage."""

import json
import re
import struct
from collections.abc import Sequence
from typing import Any, ClassVar

from asvit.core.digests import FIELD, UNKNOWN
from tests.hostile import sealed_bytes, sealed_result, summed, unsummed, with_digest

DEEP = b"[" * 10**5
_DIGEST = re.compile(rb'(\{\s*\\?"sha256\\?": \\?")[0-9a-f]{64}')


def resealed(data: bytes) -> bytes:
    """A file whose SHA-256, if it has one, is that of its content."""
    return sealed_bytes(_DIGEST.sub(rb"\g<1>" + UNKNOWN.encode(), data, count=1))


class Format:
    """Any text or bytes."""

    damaged: ClassVar[Sequence[bytes]] = ()
    summed: ClassVar[bool] = False  # whether every flipped bit is noticed

    def parts(self, data: bytes) -> list[Any]:
        """The JSON values in a file, without their sums."""
        return []

    def joined(self, data: bytes, parts: list[Any]) -> bytes:
        """The file with other JSON values."""
        return data

    def sealed(self, data: bytes) -> bytes:
        """A changed file with right sums, which else hide what is changed."""
        return data


class Json(Format):
    """A file that is one JSON object, with a digest."""

    summed = True
    damaged = (
        *(b"", b"\xff\xfe", b"nul", b"[]", b"3", b'"x"', b"{}", b"NaN", b"\0" * 4096, DEEP),
        *(b'{"a":' * 10**5, b'{"kind":' + b"9" * 10**5 + b"}", b'{"kind": 1e999}'),
        *(b'{"kind": [], "schema_version": 1}', b'{"kind": {}}', b'{"kind": "' + b"x" * 10**6),
    )

    def parts(self, data: bytes) -> list[Any]:
        content = json.loads(data)
        content.pop(FIELD, None)
        return [content]

    def joined(self, data: bytes, parts: list[Any]) -> bytes:
        return sealed_result(parts[0])

    def sealed(self, data: bytes) -> bytes:
        return resealed(data)


class Value(Json):
    """A JSON value inside a file of another reader, so without a digest."""

    summed = False
    damaged = (b"[]", b"3", b'"x"', b"null", b"[[[]]]", b'{"\\u001b[2J": 1}')

    def joined(self, data: bytes, parts: list[Any]) -> bytes:
        return json.dumps(parts[0]).encode()


class Lines(Format):
    """A journal: a JSON object a line, each with a sum of all up to it."""

    summed = True
    lines = (
        *(b"", b"[]", b"3", b"null", b"\xff\xfe", b"\0" * 512, b"{}", b"{", DEEP),
        *(b'{"settings":' * 10**4, b'{"settings": {}}', b'{"settings": NaN}'),
        b'{"settings": 1, "kind": [], "schema_version": {}}',
        b'{"elapsed": ' + b"9" * 10**4 + b"}",
        *(b'{"op_code":' * 10**4, b'{"op_code": 4}', b'{"op_code": true}', b'{"op_code": -1}'),
        *(b'{"op_code": ' + b"9" * 10**4 + b"}", b'{"op_code": 1e999}', b'{"op_code": 999}'),
    )
    damaged = (*(line + b"\n" for line in lines), b"my diary\n")

    def parts(self, data: bytes) -> list[Any]:
        return [json.loads(line) for line in unsummed(data).splitlines()]

    def joined(self, data: bytes, parts: list[Any]) -> bytes:
        return self.sealed(b"".join(json.dumps(one).encode() + b"\n" for one in parts))

    def sealed(self, data: bytes) -> bytes:
        return summed(data)


class PlainLines(Lines):
    """A journal without sums, as Optuna's."""

    summed = False

    def sealed(self, data: bytes) -> bytes:
        return data


def safetensors(header: object, tensors: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def _tensor(**changes: object) -> bytes:
    return safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}})


class Tensors(Format):
    """Safetensors: a JSON header, in which ours, another JSON text, may stand with a digest."""

    summed = True
    damaged = (
        *(b"", b"\0" * 8, b"\xff" * 8, b"\0" * 4096, b"{}", b"\x02" + b"\0" * 7 + b"{}"),
        *(struct.pack("<Q", size) + b"{}" for size in (2**62, 10**8)),  # beyond the file
        struct.pack("<Q", len(DEEP)) + DEEP,
        struct.pack("<Q", 6 * 10**4) + b'{"a":' * 12_000,
        *(safetensors(header) for header in ([], 3, None, "x", {"a": 1}, {"a": {}})),
        _tensor(shape=[2**40], data_offsets=[0, 2**42]),
        _tensor(shape=[2**33, 2**33], data_offsets=[0, 0]),
        *(_tensor(shape=[-1]), _tensor(data_offsets=[4, 0]), _tensor(dtype="OBJ")),
        *(safetensors({"__metadata__": {"asvit": ours}}) for ours in (3, "[" * 10**5, "nope")),
    )

    def parts(self, data: bytes) -> list[Any]:
        header, _ = self._split(data)
        ours = json.loads(header.get("__metadata__", {}).pop("asvit", "{}"))
        ours.pop(FIELD, None)
        return [ours, header]

    def joined(self, data: bytes, parts: list[Any]) -> bytes:
        ours, header = parts
        _, tensors = self._split(data)
        if isinstance(header, dict) and isinstance(header.get("__metadata__", {}), dict):
            about = {**header.get("__metadata__", {}), "asvit": with_digest(ours)}
            header = {**header, "__metadata__": about}
        return resealed(safetensors(header, tensors))

    def sealed(self, data: bytes) -> bytes:
        return resealed(data)

    @staticmethod
    def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
        (size,) = struct.unpack("<Q", data[:8])
        return json.loads(data[8 : 8 + size]), data[8 + size :]


class Table(Format):
    """CSV."""

    damaged = (
        *(b"", b"\xff\xfe\0", b"a,b\n1,2\n", b"\0" * 99, b"architecture\n", b"[]", DEEP),
        b"architecture," + b"x" * 200_000 + b"\n1,2\n",
    )

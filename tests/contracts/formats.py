"""Formats of files, and typical damage."""

import json
import struct
from collections.abc import Sequence
from typing import ClassVar

DEEP = b"[" * 10**5


class Format:
    """Any text or bytes."""

    damaged: ClassVar[Sequence[bytes]] = ()


class Json(Format):
    """A file that is one JSON object."""

    damaged = (
        *(b"", b"\xff\xfe", b"nul", b"[]", b"3", b'"x"', b"{}", b"NaN", b"\0" * 4096, DEEP),
        *(b'{"a":' * 10**5, b'{"kind":' + b"9" * 10**5 + b"}", b'{"kind": 1e999}'),
        *(b'{"kind": [], "schema_version": 1}', b'{"kind": {}}', b'{"kind": "' + b"x" * 10**6),
    )


class Value(Json):
    """A JSON value inside a file of another reader."""

    damaged = (b"[]", b"3", b'"x"', b"null", b"[[[]]]", b'{"\\u001b[2J": 1}')


class Lines(Format):
    """A journal: a JSON object a line."""

    lines = (
        *(b"", b"[]", b"3", b"null", b"\xff\xfe", b"\0" * 512, b"{}", b"{", DEEP),
        *(b'{"settings":' * 10**4, b'{"settings": {}}', b'{"settings": NaN}'),
        b'{"settings": 1, "kind": [], "schema_version": {}}',
        b'{"elapsed": ' + b"9" * 10**4 + b"}",
        *(b'{"op_code":' * 10**4, b'{"op_code": 4}', b'{"op_code": true}', b'{"op_code": -1}'),
        *(b'{"op_code": ' + b"9" * 10**4 + b"}", b'{"op_code": 1e999}', b'{"op_code": 999}'),
    )
    damaged = (*(line + b"\n" for line in lines), b"my diary\n")


def safetensors(header: object, tensors: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def _tensor(**changes: object) -> bytes:
    return safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}})


class Tensors(Format):
    """Safetensors: a JSON header, in which ours, another JSON text, may stand."""

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


class Table(Format):
    """CSV."""

    damaged = (
        *(b"", b"\xff\xfe\0", b"a,b\n1,2\n", b"\0" * 99, b"architecture\n", b"[]", DEEP),
        b"architecture," + b"x" * 200_000 + b"\n1,2\n",
    )

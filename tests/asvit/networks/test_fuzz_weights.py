"""Files of weights that somebody else made: read, or refused in one line; none of them is run."""

import argparse
import functools
import io
import json
import os
import pickle
import re
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from asvit.core.digests import FIELD, UNKNOWN
from asvit.data.store import read_pictures, write_pictures
from asvit.networks import Network, WeightsFile, load_state, read_state
from asvit.training.checkpoint import Checkpoint
from asvit.training.pretrained import load_pretrained
from asvit.training.supernets.file import SupernetFile
from tests.hostile import FIXED, changed_bytes, changed_json, refused_or, sealed_bytes

MANY = settings(
    FIXED, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NETWORK = Network("pit:16,2|1,1,1|1,1,1", 32, 3)
NASTY = "x\x1b]0;owned\x07\n<b>" + "y" * 500


@functools.cache
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return NETWORK.build()


@functools.cache
def right() -> bytes:
    """A file of ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        WeightsFile(NETWORK, model().state_dict(), ("a", "b", "c"), {"seconds": 3}).write(path)
        return path.read_bytes()


@functools.cache
def pictures() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        write_pictures(path, np.zeros((4, 8, 8, 3), np.uint8))
        return path.read_bytes()


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON header of a safetensors file, with a place for the digest; what is behind it."""
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    if "__metadata__" in header:  # pictures have none
        own = json.loads(header["__metadata__"]["asvit"])
        header["__metadata__"]["asvit"] = json.dumps({**own, FIELD: UNKNOWN})
    return header, data[8 + size :]


def file_of(header: object, tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return sealed_bytes(struct.pack("<Q", len(text)) + text + tensors)


def ours(**changes: Any) -> dict[str, Any]:
    """Our own header of the right file, with parts of it changed."""
    own = json.loads(header_of(right())[0]["__metadata__"]["asvit"])
    return {**own, **changes}


def with_ours(own: object) -> bytes:
    """The right file with another header of ours."""
    header, tensors = header_of(right())
    header["__metadata__"]["asvit"] = json.dumps(own)
    return file_of(header, tensors)


def check(path: Path, data: bytes) -> None:
    """Every reader of such files takes it or refuses it."""
    path.write_bytes(data)
    readers: tuple[Callable[[], object], ...] = (
        lambda: read_state(path),
        lambda: WeightsFile.read(path).load(),
        lambda: Checkpoint.read(path),
        lambda: SupernetFile.read(path),
        lambda: load_pretrained(model(), str(path), new_head=False),
        lambda: read_pictures(path, (4, 8, 8, 3)),
        lambda: read_pictures(path, (4, 8, 8, 3), slice(2, 3)),
    )
    for read in readers:
        refused_or(read)


def test_the_right_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    check(path, right())
    assert WeightsFile.read(path).network == NETWORK
    check(path, pictures())
    assert read_pictures(path, (4, 8, 8, 3)) is not None


@MANY
@given(st.sampled_from([0, 1]).flatmap(lambda i: changed_bytes((right, pictures)[i]())))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    check(tmp_path / "a.safetensors", data)


@MANY
@given(st.data())
def test_any_header(tmp_path: Path, data: st.DataObject) -> None:
    header, tensors = header_of(data.draw(st.sampled_from([right(), pictures()])))
    check(tmp_path / "a.safetensors", file_of(data.draw(changed_json(header)), tensors))
    check(tmp_path / "a.safetensors", with_ours(data.draw(changed_json(ours()))))


ODD: tuple[Any, ...] = (None, True, 0, -1, 10**400, NASTY, [], [None], [NASTY], {"a": []})


@pytest.mark.parametrize("name", ["kind", "schema_version", "network", "classes", "facts"])
def test_odd_values_in_our_header(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.safetensors"
    for odd in ODD:
        check(path, with_ours(ours(**{name: odd})))
        found = refused_or(lambda: WeightsFile.read(path))
        if found is not None:
            assert all(isinstance(name, str) for name in found.classes)
            assert len(found.classes) in (0, found.network.num_classes)


@pytest.mark.parametrize(
    "facts",
    [
        *({"mean": odd} for odd in ODD),
        *({"std": odd} for odd in ([0.1, 0.2], [0, 0, 0], [-1, 1, 1], ["a", "b", "c"])),
        *({"found_by": 3}, {"found_by": ["a"]}, {"crop_pct": "1"}, {"seconds": "x"}),
        *({"interpolation": 3}, {"top1": "99"}, {"command": ["rm"]}, {"asvit": 1}),
    ],
    ids=ascii,
)
def test_facts_that_something_is_prepared_with(tmp_path: Path, facts: dict[str, Any]) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(with_ours(ours(facts=facts)))
    assert refused_or(lambda: WeightsFile.read(path)) is None


@pytest.mark.parametrize("name", ["image_size", "num_classes", "branches"])
def test_networks_beyond_any_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.safetensors"
    network = {**NETWORK.to_json(), "ffn": "compact", name: 10**15}
    path.write_bytes(with_ours(ours(network=network, classes=[])))
    assert refused_or(lambda: WeightsFile.read(path)) is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\0" * 8, b"\xff" * 8, b"\0" * 4096, b"{}", b"\x02" + b"\0" * 7 + b"{}"),
        struct.pack("<Q", 2**62) + b"{}",  # a header longer than any memory
        struct.pack("<Q", 10**8) + b"{}",
        struct.pack("<Q", 10**5) + b"[" * 10**5,
        struct.pack("<Q", 6 * 10**4) + b'{"a":' * 12_000,
        *(file_of(header, b"") for header in ([], 3, None, "x", {"a": 1}, {"a": {}})),
        file_of({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, b""),
        file_of({"a": {"dtype": "F32", "shape": [2**33, 2**33], "data_offsets": [0, 0]}}, b""),
        file_of({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"),
        file_of({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"1234"),
        file_of({"a": {"dtype": "OBJ", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        file_of({"__metadata__": {"asvit": 3}}, b""),
        file_of({"__metadata__": {"asvit": "[" * 10**5}}, b""),
        file_of({"__metadata__": {"asvit": "nope"}}, b""),
    ],
    ids=lambda data: repr(data[:30]),
)
def test_files_that_lie(data: bytes, tmp_path: Path) -> None:
    check(tmp_path / "a.safetensors", data)
    assert refused_or(lambda: WeightsFile.read(tmp_path / "a.safetensors")) is None


def tensors(**changes: Tensor | None) -> dict[str, Tensor]:
    """The weights of the network with some changed, put in, or left out."""
    changed = {**model().state_dict(), **changes}
    return {name: tensor.clone() for name, tensor in changed.items() if tensor is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {NASTY: torch.zeros(1)},
        {f"{NASTY}{i}": torch.zeros(1) for i in range(9)},
        {"head.bias": None},
        {"head.bias": torch.zeros(7)},
        {"head.bias": torch.zeros(())},
        {"head.weight": torch.zeros(3)},
        {"pos_embed": torch.zeros(0, 3, 9)},
        {"pos_embed": torch.zeros(1, 1, 0, 0)},
        {"head.weight": torch.zeros(10**6, 0)},
        {"head.bias": torch.zeros(3, dtype=torch.int64)},
        {"pos_embed": torch.zeros(1, 16, 5, 5, dtype=torch.int8)},
        {"head.bias": torch.zeros(3, dtype=torch.complex64)},
        {"head.bias": torch.tensor([float("nan")] * 3)},
        {"head.weight": torch.zeros(3, 64, dtype=torch.float8_e4m3fn)},
    ],
    ids=lambda changes: ascii(next(iter(changes)))[:20],
)
def test_weights_of_another_network(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(save(tensors(**changes)))
    refused_or(lambda: load_pretrained(model(), str(path), new_head=False))
    refused_or(lambda: load_pretrained(model(), str(path), new_head=True))
    refused_or(lambda: load_state(model(), read_state(path), what="the weights"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.uint8, torch.bool, torch.int64], ids=lambda dtype: str(dtype)[6:]
)
def test_whole_numbers_in_the_place_of_floats(
    tmp_path: Path, dtype: torch.dtype, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    head = torch.ones(3, dtype=dtype)
    if suffix == ".pth":
        torch.save(tensors(**{"head.bias": head}), path)
    else:
        path.write_bytes(save(tensors(**{"head.bias": head})))
    right = "do not fit the network: head.bias are not floating-point numbers$"
    with pytest.raises(ValueError, match=right):
        load_state(model(), read_state(path), what="the weights")
    with pytest.raises(ValueError, match=right):
        load_pretrained(model(), str(path), new_head=False)
    fresh = NETWORK.build()
    before = fresh.state_dict()["head.bias"].clone()
    assert "head.bias" in load_pretrained(fresh, str(path), new_head=True)
    assert torch.equal(fresh.state_dict()["head.bias"], before)


def test_half_precision_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(
        save({n: t.bfloat16() if t.is_floating_point() else t for n, t in tensors().items()})
    )
    assert load_pretrained(NETWORK.build(), str(path), new_head=False) == ()


def test_tensors_without_numbers(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3, device="meta")}, tmp_path / "a.pth")
    with pytest.raises(
        ValueError, match=r"a\.pth: 'a' is a tensor on 'meta', which has no numbers"
    ):
        read_state(tmp_path / "a.pth")


class Payload:
    """Runs a command when a pickle of it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_the_payload_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "run")))
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".safetensors", ""])
@pytest.mark.parametrize("old", [False, True])
def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path, suffix: str, old: bool) -> None:
    path, mark = tmp_path / f"a{suffix}", tmp_path / "run"
    for content in (
        Payload(mark),
        {"model": Payload(mark)},
        {"a": torch.zeros(1), "b": Payload(mark)},
    ):
        torch.save(content, path, _use_new_zipfile_serialization=not old)
        for read in (lambda: read_state(path), lambda: WeightsFile.read(path)):
            assert refused_or(read) is None
        path.write_bytes(pickle.dumps(content))
        assert refused_or(lambda: read_state(path)) is None
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "held"),
    [
        (Payload(Path("x")), f"{os.mkdir.__module__}.mkdir"),
        ({"model": {"a": torch.zeros(1)}, "args": argparse.Namespace()}, "argparse.Namespace"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_the_advice_on_code_in_a_file_of_weights_is_ours(
    tmp_path: Path, content: object, held: str
) -> None:
    """PyTorch's own says how to run it."""
    path = tmp_path / "a.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match="cannot be read as weights") as caught:
        read_state(path)
    message = str(caught.value)
    assert f"it holds {held}, which may run any program" in message
    assert message.endswith("use .safetensors, or a PyTorch file of tensors alone")
    assert not re.search("weights_only|False|add_safe_globals|trust", message)


@functools.cache
def plain(old: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors(), buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


@pytest.mark.parametrize("old", [False, True])
def test_plain_weights_are_read(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(plain(old))
    assert read_state(path).keys() == model().state_dict().keys()


@pytest.mark.parametrize("old", [False, True])
@settings(MANY, max_examples=30)
@given(data=st.data())
def test_any_bytes_of_pytorch(tmp_path: Path, old: bool, data: st.DataObject) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(data.draw(changed_bytes(plain(old))))
    refused_or(lambda: read_state(path))


@pytest.mark.parametrize(
    "content",
    [
        *(None, 3, "x", [], {}, {"model": {}}, {"state_dict": 3}, {3: torch.zeros(1)}),
        *({NASTY: 3}, {"a": [torch.zeros(1)]}, {"model": {"a": NASTY}}, [torch.zeros(1)]),
        *(torch.zeros(3), {("a", 1): torch.zeros(1)}, {"a": torch.zeros(2).to_sparse()}),
    ],
    ids=lambda content: ascii(content)[:20],
)
def test_what_holds_no_weights(content: object, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(content, path)
    found = refused_or(lambda: read_state(path))
    assert found is None or all(isinstance(name, str) for name in found)
    refused_or(lambda: load_pretrained(model(), str(path), new_head=False))


def test_archives_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for names in (["../../x/data.pkl"], ["a/data.pkl", "/etc/x"], ["a/data.pkl", "a/version"]):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"\x80\x02}q\x00.")
        refused_or(lambda: read_state(path))
    assert [one.name for one in tmp_path.iterdir()] == ["a.pth"]

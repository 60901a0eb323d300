"""Checkpoints and supernets with arbitrary headers are read, or refused in one line."""

import functools
import json
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from asvit.core.settings import check_same_device, check_same_images
from asvit.training.checkpoint import Checkpoint, EngineState, Origin
from asvit.training.metrics import EpochRow
from asvit.training.settings import TrainSettings
from asvit.training.supernets.file import Origin as SupernetOrigin
from asvit.training.supernets.file import SupernetFile
from asvit.training.supernets.retraining import _read
from asvit.training.supernets.settings import SupernetSettings
from tests.hostile import FIXED, changed_bytes, changed_json, refused_or

MANY = settings(
    FIXED, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
IMAGES = {"source": "fractals", "digest": "12" * 32}
ROW = EpochRow(1, "(4,1)", 1e-3, 2.0, 1.5, 50.0, 90.0, 1.25, 52.0, 91.0, 300.0, 4.5)


def write_checkpoint(path: Path) -> None:
    origin = Origin(TrainSettings("timm:resnet18"), IMAGES, ("a", "b"), "cpu", ({"epochs": 1},))
    numbers = {"groups": [{"lr": 0.1}], "state": {}}
    weights = {"w": torch.zeros(2)}
    state = EngineState(weights, weights, {"0/step": torch.tensor(1.0)}, numbers)
    Checkpoint(origin, (ROW,), 2.5, {"a.png": 1}, state).write(path)


def use_checkpoint(found: Checkpoint) -> None:
    check_same_images(Path("run"), found.origin.images, IMAGES)
    check_same_device(Path("run"), found.origin.device, "cpu")
    assert found.finished in (True, False)
    assert found.seconds + 1 > found.seconds
    assert sum(row.best_top1 + row.seconds for row in found.history) is not None
    assert isinstance(sum(found.bad_images.values()), int)


def write_supernet(path: Path) -> None:
    origin = SupernetOrigin(SupernetSettings(), IMAGES, 10, "cpu")
    state = {"weights/w": torch.zeros(2), "losses": torch.tensor([1.0, 0.5])}
    SupernetFile(origin, 2.5, state).write(path)


def use_supernet(found: SupernetFile) -> None:
    check_same_images(Path("run"), found.origin.images, IMAGES)
    check_same_device(Path("run"), found.origin.device, "cpu")
    assert found.finished in (True, False)
    assert found.steps == len(found.losses)
    assert found.seconds + found.origin.num_classes is not None
    assert len(found.digest) == 64


Kind = tuple[Callable[[Path], None], Callable[[Path], Any], Callable[[Any], None]]
KINDS: Mapping[str, Kind] = {
    "checkpoint": (write_checkpoint, Checkpoint.read, use_checkpoint),
    "supernet": (write_supernet, SupernetFile.read, use_supernet),
}
each = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def right(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        KINDS[kind][0](path)
        return path.read_bytes()


def parts(kind: str) -> tuple[dict[str, Any], bytes]:
    """The header and the tensors of a valid file; without the digest, which hides the rest."""
    data = right(kind)
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    own = json.loads(header["__metadata__"]["asvit"])
    del own["sha256"]
    header["__metadata__"]["asvit"] = json.dumps(own)
    return header, data[8 + size :]


def own_header(kind: str) -> dict[str, Any]:
    own: dict[str, Any] = json.loads(parts(kind)[0]["__metadata__"]["asvit"])
    return own


def with_own_header(kind: str, own: object) -> bytes:
    """A valid file with our part of its header replaced."""
    header, tensors = parts(kind)
    header["__metadata__"]["asvit"] = json.dumps(own)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def check(kind: str, folder: Path, data: bytes) -> bool:
    path = folder / "a.safetensors"
    path.write_bytes(data)
    found = refused_or(lambda: KINDS[kind][1](path))
    _read(path, {"architecture": "x"})  # returns None for other files
    if found is None:
        return False
    refused_or(lambda: KINDS[kind][2](found))
    return True


@each
@MANY
@given(data=st.data())
def test_any_header(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    own = data.draw(changed_json(own_header(kind)))
    check(kind, tmp_path, with_own_header(kind, own))


@each
@MANY
@given(data=st.data())
def test_any_bytes(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    check(kind, tmp_path, data.draw(changed_bytes(right(kind))))


ODD: tuple[Any, ...] = (None, True, 0, "x\x1b[2J\n", [], [None], [["a"]], {"a": []}, 10**400)


@each
def test_odd_values_in_every_place(kind: str, tmp_path: Path) -> None:
    assert check(kind, tmp_path, right(kind))
    own = own_header(kind)
    for name in own:
        for odd in ODD:
            check(kind, tmp_path, with_own_header(kind, {**own, name: odd}))
        del (left := dict(own))[name]
        assert not check(kind, tmp_path, with_own_header(kind, left))
    for other in ([], 3, "x", None, {}, [[[]]]):
        assert not check(kind, tmp_path, with_own_header(kind, other))


@each
def test_what_is_refused_is_named_and_left(kind: str, tmp_path: Path) -> None:
    path, whole = tmp_path / "a.safetensors", right(kind)
    with pytest.raises(FileNotFoundError, match=f"no {kind} '"):
        KINDS[kind][1](path)
    own, foreign = own_header(kind), save({"w": torch.zeros(2)})
    for content, says in (
        *((whole[:kept], "") for kept in (0, 7, 100, -1)),
        (foreign, ""),
        (with_own_header(kind, {**own, "schema_version": 99}), "schema 99"),
        (with_own_header(kind, {**own, "kind": "another"}), "kind 'another'"),
        (with_own_header(kind, {**own, "settings": {"newer": 1}}), "unknown setting 'newer'"),
    ):
        path.write_bytes(content)
        message = rf"is not a {kind} that .*{says}.*restore it from a copy, or give --fresh to"
        with pytest.raises(ValueError, match=message):
            KINDS[kind][1](path)
        assert path.read_bytes() == content

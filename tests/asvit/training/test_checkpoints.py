"""Checkpoints of a training: what they keep, and damaged ones."""

import functools
import json
import math
import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from timm.optim import create_optimizer_v2
from torch import nn

from asvit.core.settings import check_same_device, check_same_images
from asvit.training.checkpoint import (
    Checkpoint,
    EngineState,
    Origin,
    load_optimizer,
    optimizer_state,
)
from asvit.training.metrics import EpochRow
from asvit.training.settings import TrainSettings
from asvit.training.supernets.file import Origin as SupernetOrigin
from asvit.training.supernets.file import SupernetFile
from asvit.training.supernets.retraining import _read
from asvit.training.supernets.settings import SupernetSettings
from tests.hostile import FIXED, changed_bytes, changed_json, refused_or, sealed_bytes, with_digest

IMAGES = {"source": "fractals", "digest": "12" * 32}
ROW = EpochRow(1, "(4,1)", 1e-3, 2.0, 1.5, 50.0, 90.0, 1.25, 52.0, 91.0, 300.0, 4.5)


def checkpoint(epochs: int = 3) -> Checkpoint:
    weight = torch.randn(3, 4)
    settings = TrainSettings.make(architecture="timm:resnet18", epochs=epochs)
    origin = Origin(settings, IMAGES, ("a", "b"), "cpu", ({"stride": 4, "fraction": 1.0},), {})
    state = EngineState(
        weights={"w": weight, "tied": weight, "count": torch.tensor(7)},
        average={"w": weight + 1},
        moments={"0/exp_avg": torch.randn(4, 3).T, "0/step": torch.tensor(5.0)},
        numbers={"groups": [{"lr": 0.1, "betas": [0.9, 0.999]}], "state": {}},
    )
    return Checkpoint(origin, (ROW,), 12.5, {"a.png": 2}, state)


def same(ours: EngineState, theirs: EngineState) -> bool:
    pairs = [(getattr(ours, n), getattr(theirs, n)) for n in ("weights", "average", "moments")]
    return ours.numbers == theirs.numbers and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in b) for a, b in pairs
    )


def test_round_trip(tmp_path: Path) -> None:
    written = checkpoint()
    written.write(tmp_path / "c.safetensors")
    found = Checkpoint.read(tmp_path / "c.safetensors")
    assert same(found.state, written.state)
    assert replace(found, state=written.state) == written


def test_the_optimiser_is_not_kept_with_a_finished_training(tmp_path: Path) -> None:
    written = checkpoint(epochs=1)
    assert written.finished
    written.write(tmp_path / "c.safetensors")
    found = Checkpoint.read(tmp_path / "c.safetensors")
    assert not found.state.moments
    assert found.state.weights.keys() == written.state.weights.keys()


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 4, generator=generator)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["adamw", "sgd", "momentum", "lamb", "adafactor", "lion", "muon"])
def test_a_resumed_optimiser_takes_the_same_steps(name: str) -> None:
    whole, first, second = network(), network(), network()
    optimizer, before, after = (
        create_optimizer_v2(model, name, lr=1e-2, weight_decay=0.1)
        for model in (whole, first, second)
    )
    for steps in (3, 2):
        trained(whole, optimizer, steps)
    trained(first, before, 3)
    tensors, numbers = optimizer_state(before)
    second.load_state_dict(first.state_dict())
    copied = {key: value.clone() for key, value in tensors.items()}
    load_optimizer(after, copied, json.loads(json.dumps(numbers)))
    trained(second, after, 2)
    ours, theirs = second.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(("part", "value"), [("weights", math.nan), ("average", math.inf)])
def test_weights_that_do_not_fit_or_are_no_numbers_are_refused(part: str, value: float) -> None:
    right = network().state_dict()
    wrong = {**right, "2.bias": torch.tensor([0.0, value, 0.0])}
    model, average = network(), network()
    for bad, message in (
        (wrong, r"of the checkpoint are infinite or NaN, as in '2\.bias'"),
        ({"0.weight": torch.zeros(2, 2)}, "of the checkpoint do not fit"),
    ):
        parts = {"weights": right, "average": right, part: bad}
        with pytest.raises(ValueError, match=message):
            EngineState(**parts, moments={}, numbers={}).load(model, average)
    assert all(torch.equal(model.state_dict()[name], right[name]) for name in right)


@pytest.mark.parametrize(
    ("tensors", "change"),
    [
        ({}, {"groups": [{}] * 6}),  # of another network
        ({"x/exp_avg": torch.zeros(1)}, {}),
        ({"group 9/lr": torch.zeros(1)}, {}),
        ({"": torch.zeros(1)}, {}),
        ({}, {"groups": [3]}),
        ({}, {"groups": []}),
        ({}, {"state": {"x": {}}}),
        ({}, {"state": {"0": 3}}),
        ({}, {"state": []}),
    ],
)
def test_what_is_no_state_is_refused(
    tensors: dict[str, torch.Tensor], change: dict[str, object]
) -> None:
    optimizer = torch.optim.AdamW(network().parameters())
    _, numbers = optimizer_state(optimizer)
    with pytest.raises(ValueError, match="is of another network, or none"):
        load_optimizer(optimizer, tensors, {**numbers, **change})


MANY = settings(
    FIXED, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def use_checkpoint(found: Checkpoint) -> None:
    check_same_images(Path("run"), found.origin.images, IMAGES)
    check_same_device(Path("run"), found.origin.device, "cpu")
    assert found.finished in (True, False)
    assert found.seconds + 1 > found.seconds
    assert sum(row.best_top1 + row.seconds for row in found.history) is not None
    assert isinstance(sum(found.bad_images.values()), int)


def write_supernet(path: Path) -> None:
    origin = SupernetOrigin(SupernetSettings(), IMAGES, 10, "cpu", {})
    state = {"weights/w": torch.zeros(2), "losses": torch.tensor([1.0, 0.5])}
    SupernetFile(origin, 2.5, state).write(path)


def use_supernet(found: SupernetFile) -> None:
    check_same_images(Path("run"), found.origin.images, IMAGES)
    check_same_device(Path("run"), found.origin.device, "cpu")
    assert found.finished in (True, False)
    assert found.steps == len(found.state["losses"].tolist())
    assert found.seconds + found.origin.num_classes is not None
    assert len(found.digest) == 64


Kind = tuple[Callable[[Path], None], Callable[[Path], Any], Callable[[Any], None]]
KINDS: Mapping[str, Kind] = {
    "checkpoint": (lambda path: checkpoint().write(path), Checkpoint.read, use_checkpoint),
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
    """The header and the tensors of a valid file."""
    data = right(kind)
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def own_header(kind: str) -> dict[str, Any]:
    own: dict[str, Any] = json.loads(parts(kind)[0]["__metadata__"]["asvit"])
    del own["sha256"]
    return own


def with_own_header(kind: str, own: object) -> bytes:
    """A valid file with our part of its header replaced."""
    header, tensors = parts(kind)
    header["__metadata__"]["asvit"] = with_digest(own)
    text = json.dumps(header).encode()
    return sealed_bytes(struct.pack("<Q", len(text)) + text + tensors)


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

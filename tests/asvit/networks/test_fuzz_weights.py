"""Weights of other networks and of PyTorch: refused in one line; none of them is run."""

import argparse
import functools
import io
import os
import pickle
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from asvit.networks import WeightsFile, load_state, read_state
from asvit.training.pretrained import load_pretrained
from tests.contracts.readers import NETWORK, READERS, network
from tests.hostile import FIXED, changed_bytes, refused_or

MANY = settings(
    FIXED, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NASTY = "x\x1b]0;owned\x07\n<b>" + "y" * 500
ODD: tuple[Any, ...] = (None, True, 0, -1, 10**400, NASTY, [], [None], [NASTY], {"a": []})


def with_ours(**changes: Any) -> bytes:
    """A file of ours with parts of our own header changed."""
    reader = READERS["weights with their network"]
    with tempfile.TemporaryDirectory() as folder:
        reader.write(path := Path(folder) / "a.safetensors")
        data = path.read_bytes()
    ours, header = reader.format.parts(data)
    return reader.format.joined(data, [{**ours, **changes}, header])


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
    path.write_bytes(with_ours(facts=facts))
    assert refused_or(lambda: WeightsFile.read(path)) is None


@pytest.mark.parametrize("name", ["image_size", "num_classes", "branches"])
def test_networks_beyond_any_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.safetensors"
    described = {**NETWORK.to_json(), "ffn": "compact", name: 10**15}
    path.write_bytes(with_ours(network=described, classes=[]))
    assert refused_or(lambda: WeightsFile.read(path)) is None


def tensors(**changes: Tensor | None) -> dict[str, Tensor]:
    """The weights of the network with some changed, put in, or left out."""
    changed = {**network().state_dict(), **changes}
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
    refused_or(lambda: load_pretrained(network(), str(path), new_head=False))
    refused_or(lambda: load_pretrained(network(), str(path), new_head=True))
    refused_or(lambda: load_state(network(), read_state(path), what="the weights"))


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
        load_state(network(), read_state(path), what="the weights")
    with pytest.raises(ValueError, match=right):
        load_pretrained(network(), str(path), new_head=False)
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
@settings(MANY, max_examples=30)
@given(data=st.data())
def test_any_bytes_of_pytorch(tmp_path: Path, old: bool, data: st.DataObject) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(data.draw(changed_bytes(plain(old))))
    refused_or(lambda: read_state(path))


def test_archives_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for names in (["../../x/data.pkl"], ["a/data.pkl", "/etc/x"], ["a/data.pkl", "a/version"]):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"\x80\x02}q\x00.")
        refused_or(lambda: read_state(path))
    assert [one.name for one in tmp_path.iterdir()] == ["a.pth"]

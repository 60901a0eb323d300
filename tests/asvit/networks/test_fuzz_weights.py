"""Weights of other networks and of PyTorch: refused in one line; none of them is run."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from asvit.networks import WeightsFile, read_state
from asvit.networks.opening import load_pretrained
from tests.contracts.readers import NETWORK, network
from tests.hostile import refused_or


def tensors(**changes: Tensor | None) -> dict[str, Tensor]:
    """The weights of the network with some changed, put in, or left out."""
    changed = {**network().state_dict(), **changes}
    return {name: tensor.clone() for name, tensor in changed.items() if tensor is not None}


def test_half_precision_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(
        save({n: t.bfloat16() if t.is_floating_point() else t for n, t in tensors().items()})
    )
    assert load_pretrained(NETWORK.build(), str(path), new_head=False) == ()


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

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from asvit.networks import Network, WeightsFile, load_state, read_state

NETWORK = Network("shift:1,1,1,1|1|8|1|16", image_size=32, num_classes=3)
FACTS = {"mean": [0.5, 0.5, 0.5], "accuracy": 81.5}


@pytest.fixture
def stored() -> WeightsFile:
    torch.manual_seed(0)
    return WeightsFile(NETWORK, NETWORK.build().state_dict(), ("cat", "dog", "ox"), FACTS)


def test_a_file_read_back_gives_the_same_outputs(stored: WeightsFile, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    stored.write(path)
    again = WeightsFile.read(path)
    assert (again.network, again.classes, again.facts) == (NETWORK, stored.classes, FACTS)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(again.load()(images), stored.load()(images), rtol=0, atol=0)
    before = torch.random.get_rng_state()
    assert not again.load().training
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_preparation_of_timms_volo_is_kept(stored: WeightsFile, tmp_path: Path) -> None:
    replace(stored, facts={"crop_pct": 1.15}).write(tmp_path / "a.safetensors")
    assert WeightsFile.read(tmp_path / "a.safetensors").preparation.crop_pct == 1.15


def test_weights_of_another_network_are_refused(stored: WeightsFile) -> None:
    other = Network("shift:1,1,2,1|1|8|1|16", image_size=32, num_classes=3)
    wrong = WeightsFile(other, stored.weights)
    with pytest.raises(ValueError, match=r"do not fit the network: layers\.2\.\S+.* are missing"):
        wrong.load()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.safetensors", {"w": torch.ones(2, 2)}),
        ("a.pth", {"model": {"w": torch.ones(2, 2)}, "epoch": 3}),
        # The moving average comes first.
        (
            "a.pth",
            {"state_dict": {"w": torch.zeros(1)}, "state_dict_ema": {"w": torch.ones(2, 2)}},
        ),
        ("a.pt", {"model_state_dict": {"module.w": torch.ones(2, 2)}, "optimizer": {}}),
        ("a.ckpt", {"module._orig_mod.w": torch.ones(2, 2)}),
        ("a.safetensors", {"_orig_mod.module.w": torch.ones(2, 2)}),
    ],
)
def test_a_file_of_weights_alone_is_read(name: str, content: Any, tmp_path: Path) -> None:
    path = tmp_path / name
    (save_file if path.suffix == ".safetensors" else torch.save)(content, path)
    assert torch.equal(read_state(path)["w"], torch.ones(2, 2))
    with pytest.raises(ValueError, match=r"not which network they are of; .* or give a copy"):
        WeightsFile.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"w": Path("a")}, "cannot be read as weights"),
        ([1, 2], "holds a list, not a state dict"),
        ({"epoch": 3}, "'epoch' is not a tensor"),
    ],
)
def test_what_are_no_weights_is_refused(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        read_state(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_state, WeightsFile.read):
        with pytest.raises(FileNotFoundError, match=r"no file of weights '.*gone\.safetensors'"):
            read(tmp_path / "gone.safetensors")


def test_a_full_disk_leaves_the_file_before(
    stored: WeightsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    stored.write(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        stored.write(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_another_head_stays_as_it_was_where_it_may() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 5))
    weights = {n: torch.ones_like(t) for n, t in model.state_dict().items()}
    weights["1.weight"] = torch.ones(3, 2)
    del weights["1.bias"]
    before = model[1].weight.clone()
    with pytest.raises(ValueError, match=r"x do not fit the network: 1\.bias are missing"):
        load_state(model, weights, what="x")
    assert load_state(model, weights, what="x", may_lack=["1."]) == ("1.weight", "1.bias")
    assert torch.equal(model[1].weight, before)
    assert torch.equal(model[0].weight, torch.ones(2, 2))

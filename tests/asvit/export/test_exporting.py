"""Whole exports, with the copy run in this process; the fresh one has tests of its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
from torch import Tensor, nn

from asvit.export import comparison, exporting
from asvit.export.exporting import export_network, name_weights
from asvit.export.formats import Format
from asvit.export.settings import ExportSettings
from asvit.networks import Network, WeightsFile
from asvit.networks.opening import weights_path
from asvit.runs.training import run_training
from tests.asvit.export.exported_networks import graphs_traced_once, run_in_this_process

NETWORK = Network("shift:1,1,1,1|1|8|1|16", image_size=32, num_classes=3)
FACTS = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "top1": 50.0}


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """One trace of a network, and copies that are compared in this process."""
    with pytest.MonkeyPatch.context() as patch, graphs_traced_once():
        patch.setattr(comparison, "run_copy", run_in_this_process)
        yield


def trained(folder: Path, network: Network = NETWORK, **facts: Any) -> Path:
    """A run folder with a network in it."""
    folder.mkdir()
    content = WeightsFile(
        network, network.build().state_dict(), ("cat", "dog", "ox"), {**FACTS, **facts}
    )
    content.write(folder / "model.safetensors")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_random_weights_of_what_a_run_ended_in(tmp_path: Path) -> None:
    found = {"kind": "search", "seed_architecture": NETWORK.architecture}
    (tmp_path / "result.json").write_bytes(json.dumps(found).encode())
    sizes = {"image_size": 32, "num_classes": 3}
    made = export_network(str(tmp_path), to="pt2", random=True, out="random.pt2", **sizes)
    assert made.content.network == NETWORK


@pytest.mark.parametrize("name", ["model", "inherited"])
def test_a_run_stands_for_its_weights(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / f"{name}.safetensors", tmp_path / "result.json"):
        path.write_text("{}")
        asked = name_weights(ExportSettings("pt2", str(path)))
        assert asked == ExportSettings("pt2", weights=str(path))
        assert weights_path(str(path)) == tmp_path / f"{name}.safetensors"
    assert weights_path(str(tmp_path)) == tmp_path / f"{name}.safetensors"


def test_a_run_folder_is_exported_beside_its_weights(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    told: list[str] = []
    exported = export_network(str(run), to="pt2", progress=told.append)
    assert names(run) == {"model.safetensors", "model.pt2", "model.pt2.md"}
    assert (exported.out, exported.card) == (run / "model.pt2", run / "model.pt2.md")
    assert exported.content.network == NETWORK
    assert exported.content.facts == FACTS
    assert [one.batch for one in exported.differences] == [1, 3]
    assert exported.command == f"asvit export --to pt2 --weights {run}"
    assert told == [
        "building the network",
        "writing pt2",
        "comparing the copy with the network, in a fresh process",
    ]
    assert "top-1 50.00 %" in (run / "model.pt2.md").read_text()
    json.dumps(exported.to_json(), allow_nan=False)


def test_the_result_beside_the_weights_is_told(tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = run_training(
        NETWORK.architecture,
        out=run,
        data="digits",
        image_size=32,
        epochs=1,
        batch_size=16,
        train_images=16,
        validation_images=16,
        device="cpu",
    )
    exported = export_network(str(run), to="timm", out="digits")
    command = trained.provenance["command"].replace(f"{tmp_path}/", "")
    assert exported.content.facts["command"] == command
    card = Path("digits/README.md").read_text()
    assert f"* command: `{command}`" in card
    assert str(tmp_path) not in card
    assert "* recipe: swin" in card
    assert f"* accuracy: top-1 {trained.last.top1:.2f} %" in card
    (run / "result.json").write_text("{}")
    again = export_network(str(run), to="timm", out="other")
    assert "command" not in again.content.facts


def test_a_copy_and_its_card_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    search = {"kind": "search", "run": f"{tmp_path}/runs/seed", "ntk_condition_number": 9.5}
    source = f"folder {tmp_path}/my pets, 160 images, 3 classes"
    run = trained(tmp_path / "run", found_by=search, images=source)
    made = export_network(str(run), to="safetensors", out=str(tmp_path / "copy.safetensors"))
    assert "* run: seed" in made.card.read_text()
    for file in (made.out, made.card):
        assert bytes(tmp_path) not in file.read_bytes()


def test_wrong_weights_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    trained(tmp_path / "run")
    with pytest.raises(ValueError, match="has num_classes 3, not 5; leave it out"):
        export_network(weights="run", to="safetensors", out="copy.safetensors", num_classes=5)
    assert names(tmp_path) == {"run"}


class _Wrong(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def test_a_copy_that_is_not_equal_is_never_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path / "run")
    before = export_network(str(run), to="pt2").out.read_bytes()
    written = exporting.write_copy

    def write_another(form: Format, path: Path, **given: Any) -> None:
        written(form, path, **{**given, "model": _Wrong()})

    monkeypatch.setattr(exporting, "write_copy", write_another)
    with pytest.raises(ValueError, match="the copy is not equal: on 1 image"):
        export_network(str(run), to="pt2", force=True)
    assert (run / "model.pt2").read_bytes() == before
    with pytest.raises(ValueError, match="the copy is not equal"):
        export_network(str(run), to="pt2", out="other.pt2")
    assert names(run) == {"model.safetensors", "model.pt2", "model.pt2.md"}
    assert names(tmp_path) == {"run"}


def test_weights_that_timm_publishes_are_exported_with_their_preparation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm.create_model

    def without_download(name: str, *, pretrained: bool = False, **given: Any) -> nn.Module:
        if pretrained and "pretrained_cfg" not in given and not name.startswith("local-dir:"):
            return create(name.partition(".")[0], num_classes=7, **given)
        return create(name, pretrained=pretrained, **given)

    monkeypatch.setattr(timm, "create_model", without_download)
    (tmp_path / "result.json").write_text("{}")  # of a run that has nothing to do with them
    text = "timm:test_vit.r160_in1k"
    made = export_network(weights=text, to="safetensors", out="copy.safetensors")
    config = timm.get_pretrained_cfg("test_vit.r160_in1k")
    assert made.content.network == Network("timm:test_vit", config.input_size[-1], 7)
    assert tuple(made.content.facts["mean"]) == config.mean
    assert f"* weights from: `{text}`" in (tmp_path / "copy.safetensors.md").read_text()
    with pytest.raises(ValueError, match="without a file of weights needs a name; give --out"):
        export_network(weights=text, to="safetensors")

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import timm
import torch
import torch.nn.functional as F
from exported_networks import CLASSES, MORE, NETWORKS, SHIFT, SIDE, as_file, run_in_this_process
from torch import Tensor, nn

from asvit.core.running import ABOUT
from asvit.export.comparison import difference
from asvit.export.formats import FORMATS
from asvit.export.writers import (
    config,
    onnx_graph,
    timm_arguments,
    trace,
    write_graph,
    write_pt2,
    write_timm_folder,
)
from asvit.networks import Network, WeightsFile

BATCHES = (1, 3)
HOST = Network("timm:test_vit", image_size=32, num_classes=3)
FACTS = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "crop_pct": 0.8, "top1": 12.0}


def images(batch: int, side: int = SIDE) -> Tensor:
    return torch.randn(batch, 3, side, side)


def check_both_graphs(model: nn.Module, folder: Path) -> None:
    """Make sure that both kinds of graph agree with ``model`` on other batches than the traced."""
    program = trace(model, image_size=SIDE)
    write_graph(onnx_graph(program), folder / "copy.onnx", about={})
    write_pt2(program, folder / "copy.pt2", about="{}")
    given = {str(batch): images(batch) for batch in BATCHES}
    with torch.no_grad():
        expected = {batch: model(one) for batch, one in given.items()}
    for name in ("onnx", "pt2"):
        found = run_in_this_process(FORMATS[name], folder / f"copy.{name}", given)
        for batch, outputs in expected.items():
            assert difference(found[batch], outputs).relative <= 1e-4, (name, batch)


@pytest.mark.parametrize(
    "name",
    [
        # Designs compare their copies, too.
        pytest.param(name, marks=[pytest.mark.nightly] * (name not in ("shiftvit", "psvit1d")))
        for name in NETWORKS
    ],
)
def test_graphs_agree_on_any_number_of_images(name: str, tmp_path: Path) -> None:
    check_both_graphs(NETWORKS[name]().eval(), tmp_path)


class Attention(nn.Module):
    """Fused attention of 16 tokens in groups of some axes."""

    def __init__(self, axes: tuple[int, ...], **options: Any) -> None:
        super().__init__()
        self.axes, self.options = axes, options
        self.qkv, self.head = nn.Linear(12, 24), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(x.shape[0], *self.axes, -1, 12)[..., :4, :]
        mixed = F.scaled_dot_product_attention(*self.qkv(tokens).chunk(3, -1), **self.options)
        return self.head(mixed.flatten(1, -2).mean(1))


@pytest.mark.parametrize(
    ("axes", "masked"),
    [
        ((2, 2), "causal"),
        pytest.param((2, 2, 2), "mask of all", marks=pytest.mark.nightly),
    ],
)
def test_attention_of_any_number_of_axes_is_written(
    axes: tuple[int, ...], masked: str, tmp_path: Path
) -> None:
    mask = torch.randn(4, 4) > -0.5
    mask.fill_diagonal_(True)
    options = {
        "no": {},
        "causal": {"is_causal": True},
        "mask of tokens": {"attn_mask": mask},
        "mask of all": {"attn_mask": torch.randn(1, *axes, 4, 4)},
    }[masked]
    check_both_graphs(Attention(axes, **options).eval(), tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("name", MORE)
def test_graphs_of_more_networks_agree(name: str, tmp_path: Path) -> None:
    check_both_graphs(MORE[name]().eval(), tmp_path)


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    return trace(SHIFT.build().eval(), image_size=SIDE)


def test_an_onnx_file_names_its_tensors_and_says_what_it_is(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    path = tmp_path / "copy.onnx"
    written = write_graph(onnx_graph(program), path, about={"a": 1})
    graph = onnx.load(path)
    onnx.checker.check_model(graph)
    assert [one.name for one in graph.graph.input] == ["images"]
    assert [one.name for one in graph.graph.output] == ["logits"]
    batch, *sides = graph.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param == "batch"
    assert [one.dim_value for one in sides] == [3, SIDE, SIDE]
    assert graph.opset_import[0].version == written
    (entry,) = graph.metadata_props
    about = json.loads(entry.value)
    assert (entry.key, list(about)) == (ABOUT, ["a"])
    assert [one.name for one in tmp_path.iterdir()] == ["copy.onnx"]  # weights are inside


def test_a_network_that_cannot_be_followed_is_refused_in_one_line() -> None:
    class Wavering(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match=r"torch\.export cannot follow this Wavering") as refusal:
        trace(Wavering(), image_size=SIDE)
    assert "\n" not in str(refusal.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model, content = as_file(SHIFT)
    known = WeightsFile(SHIFT, content.weights, ("cat", "dog", "ox"), FACTS)
    write_timm_folder(known, model, tmp_path / "shift")
    return tmp_path / "shift"


def test_timm_gets_preparation_and_labels(folder: Path) -> None:
    made = timm.create_model(f"local-dir:{folder}", pretrained=True)
    prepared = timm.data.resolve_model_data_config(made)
    assert list(prepared["input_size"]) == [3, 32, 32]
    assert list(prepared["mean"]) == FACTS["mean"]
    assert list(prepared["std"]) == FACTS["std"]
    assert prepared["crop_pct"] == FACTS["crop_pct"]
    assert made.pretrained_cfg["label_names"] == ["cat", "dog", "ox"]


def test_other_classes_keep_all_but_the_classifier(folder: Path) -> None:
    stored = timm.create_model(f"local-dir:{folder}", pretrained=True)
    made = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=7)
    assert made(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    own, other = made.state_dict(), stored.state_dict()
    changed = {name for name in own if own[name].shape != other[name].shape}
    assert changed == {"head.weight", "head.bias"}
    assert all(torch.equal(own[name], other[name]) for name in own if name not in changed)


def test_a_network_of_timm_goes_by_its_own_name_unless_parts_of_ours_are_in_it() -> None:
    assert timm_arguments(HOST) == ("test_vit", {"img_size": 32})
    model, content = as_file(HOST)
    assert config(content, model)["pretrained_cfg"]["classifier"] == "head"
    given = replace(HOST, architecture="timm:test_vit(depth=1,init_values=0.1)")
    assert timm_arguments(given) == ("test_vit", {"depth": 1, "init_values": 0.1, "img_size": 32})
    parts = {"attention": "hallucinated(maps=copy)", "ffn": "compact", "branches": 2}
    own = {"architecture": "timm:test_vit", "img_size": 32, **parts}
    assert timm_arguments(replace(HOST, **parts)) == ("asvit", own)


def test_timm_loads_the_converted_networks_of_its_registry(tmp_path: Path) -> None:
    text = "timm:hallucinated_deit_tiny_patch16_224(branches=0,depth=1)"
    model, content = as_file(Network(text, image_size=SIDE, num_classes=3))
    write_timm_folder(content, model, tmp_path / "deit")
    loaded = timm.create_model(f"local-dir:{tmp_path / 'deit'}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(loaded(given := images(2)), model(given))

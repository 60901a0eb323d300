import json
from pathlib import Path

import onnx
import pytest
import torch
from exported_networks import MORE, NETWORKS, SHIFT, SIDE, run_in_this_process
from torch import Tensor, nn

from asvit.export import FORMATS, writers
from asvit.export.comparison import difference
from asvit.export.writers import ABOUT, trace, write_onnx, write_pt2

BATCHES = (1, 3)


def images(batch: int, side: int = SIDE) -> Tensor:
    return torch.randn(batch, 3, side, side)


def check_both_graphs(model: nn.Module, folder: Path) -> None:
    """Make sure that both kinds of graph agree with ``model`` on other batches than the traced."""
    program = trace(model, image_size=SIDE)
    write_onnx(program, folder / "copy.onnx", about="{}")
    write_pt2(program, folder / "copy.pt2", about="{}")
    given = {str(batch): images(batch) for batch in BATCHES}
    with torch.no_grad():
        expected = {batch: model(one) for batch, one in given.items()}
    for name in ("onnx", "pt2"):
        found = run_in_this_process(FORMATS[name], folder / f"copy.{name}", given)
        for batch, outputs in expected.items():
            assert difference(found[batch], outputs).relative <= 1e-4, (name, batch)


@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_agree_on_any_number_of_images(name: str, tmp_path: Path) -> None:
    check_both_graphs(NETWORKS[name]().eval(), tmp_path)


@pytest.mark.slow
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
    written = write_onnx(program, path, about='{"a": 1}')
    graph = onnx.load(path)
    onnx.checker.check_model(graph)
    assert [one.name for one in graph.graph.input] == ["images"]
    assert [one.name for one in graph.graph.output] == ["logits"]
    batch, *sides = graph.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param == "batch"
    assert [one.dim_value for one in sides] == [3, SIDE, SIDE]
    assert graph.opset_import[0].version == written
    assert {one.key: one.value for one in graph.metadata_props} == {ABOUT: '{"a": 1}'}
    assert [one.name for one in tmp_path.iterdir()] == ["copy.onnx"]  # weights are inside


def test_a_program_says_what_it_is(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    path = tmp_path / "copy.pt2"
    write_pt2(program, path, about='{"a": 1}')
    inside = {ABOUT: ""}
    torch.export.load(path, extra_files=inside)
    assert json.loads(inside[ABOUT]) == {"a": 1}


def test_a_batch_that_is_asked_for_is_fixed(tmp_path: Path) -> None:
    path = tmp_path / "copy.onnx"
    program = trace(SHIFT.build().eval(), image_size=SIDE, batch=1)
    write_onnx(program, path, about="{}")
    batch = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_value == 1


def test_the_operator_set_that_is_asked_for_is_written(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    path = tmp_path / "copy.onnx"
    assert write_onnx(program, path, about="{}", opset=18) == 18
    assert onnx.load(path).opset_import[0].version == 18


def test_an_operator_set_that_pytorch_would_exchange_is_refused(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    path = tmp_path / "copy.onnx"
    with pytest.raises(ValueError, match="opset must be at least 18, got 17"):
        write_onnx(program, path, about="{}", opset=17)
    with pytest.raises(ValueError, match="for opset 99, only"):
        write_onnx(program, path, about="{}", opset=99)
    assert not path.exists()


def test_more_weights_than_an_onnx_file_holds_are_refused(
    program: torch.export.ExportedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="do not fit into an ONNX file"):
        write_onnx(program, tmp_path / "copy.onnx", about="{}")


def test_a_network_that_cannot_be_followed_is_refused_in_one_line() -> None:
    class Wavering(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match=r"torch\.export cannot follow this Wavering") as refusal:
        trace(Wavering(), image_size=SIDE)
    assert "\n" not in str(refusal.value)

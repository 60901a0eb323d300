"""8-bit copies: which pictures make and judge them, what they cost, and when they are refused."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

import asvit
from asvit.data.base import LabelledImages
from asvit.export import comparison, int8
from asvit.export.exporting import export_network
from asvit.export.int8 import labelled_pictures
from asvit.measuring import timing
from asvit.networks import WeightsFile
from asvit.runs.training import run_training
from asvit.statistics.intervals import paired_difference
from tests.asvit.cli.commands import run as run_command
from tests.asvit.export.exported_networks import graphs_traced_once, run_in_this_process

pytest.importorskip("onnxruntime")

TEXT = "timm:resnet10t(channels=[8,8,8,8],stem_width=8)"
CLASSES = ("blue", "green", "red")


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Short timings, one trace of a network, and copies that are compared in this process."""
    with pytest.MonkeyPatch.context() as patch, graphs_traced_once():
        patch.setattr(timing, "_SECONDS", 0.0)
        patch.setattr(timing, "_WARM_UP", 0.0)
        patch.setattr(comparison, "run_copy", run_in_this_process)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Pictures of three colours, a training, two copies of its network, and what the last told."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("int8")
    for place, name in enumerate(reversed(CLASSES)):
        (folder / "colours" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 90, (40, 36, 3))
            pixels[..., place] += rng.integers(20, 160)
            Image.fromarray(pixels.astype(np.uint8)).save(
                folder / "colours" / name / f"{number}.png"
            )
    plain = {"auto_augment": "none", "mixup": 0.0, "cutmix": 0.0, "erasing": 0.0}
    with contextlib.chdir(folder):
        run_training(
            TEXT,
            data="colours",
            held_out=0.3,
            image_size=32,
            recipe="small",
            epochs=12,
            batch_size=14,
            learning_rate=5e-3,
            seed=3,
            out="run",
            workers=0,
            **plain,
        )
        export_network("run", to="onnx")
        words = ["--int8", "--tolerance", "50", "--with-preprocessing", "--json"]
        return folder, run_command("export", "run", "--to", "onnx", *words)


@pytest.fixture
def folder(whole: tuple[Path, Result], tmp_path: Path) -> Path:
    """The working folder, with ``colours`` and ``run``."""
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is quantised, which takes long."""
    monkeypatch.setattr(int8, "quantised", lambda graph, images: graph)


def test_an_int8_copy_says_what_it_costs_on_pictures_kept_aside(folder: Path) -> None:
    """Counted again with predict, picture by picture, of the float copy and the int8 one."""
    made = export_network("run", to="onnx", int8=True, tolerance=50, force=True)
    assert made.out == Path("run/model-int8.onnx")
    found = made.quantisation
    assert (found.calibrated, found.pictures) == (42, 18)
    assert found.source == "folder colours, 60 images, 3 classes; 18 of them for validation"
    assert found.size == made.out.stat().st_size < found.size_before
    assert found.latency.runtime == found.latency_before.runtime == "onnx"
    assert not [path for path in folder.rglob("*") if "float32" in path.name]

    aside = labelled_pictures(None, Path("run/model.safetensors"), made.content).others
    paths = [folder / "aside" / f"{place:03d}.png" for place in range(len(aside))]
    paths[0].parent.mkdir()
    for place, path in enumerate(paths):
        aside.picture(place).save(path)
    right = [
        [
            one.guesses[0].label == CLASSES[label]
            for one, label in zip(asvit.predict(copy, paths), aside.labels, strict=True)
        ]
        for copy in (made.out, "run/model.onnx")
    ]
    assert found.accuracy == pytest.approx(100 * np.mean(right[0]))
    assert found.accuracy_before == pytest.approx(100 * np.mean(right[1]))
    assert found.accuracy_before > 60  # it has learned something
    apart = paired_difference(*right)
    assert found.difference == pytest.approx(100 * apart.value)
    assert found.interval == pytest.approx([100 * end for end in apart.interval])


def test_the_products_are_in_8_bits(folder: Path) -> None:
    import onnx

    graph = onnx.load("run/model-int8.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert "QuantizeLinear" in kinds
    scaled = {name for node in graph.node for name in node.output if "Dequant" in node.op_type}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert set(node.input[:2]) <= scaled
    weights = [one for one in graph.initializer if one.data_type == onnx.TensorProto.INT8]
    scales = {one.name: one for one in graph.initializer if one.name.endswith("_scale")}
    assert any(len(one.dims) == 4 for one in weights)
    assert any(one.dims and one.dims[0] > 1 for one in scales.values())  # one a channel


def _answers(path: Path, pictures: LabelledImages) -> np.ndarray:
    """Those of a float copy that is always right, and of an int8 one that is wrong about two."""
    labels = pictures.labels.copy()
    if path.name != "float32.onnx":
        labels[0] += 1
        labels[1] = -1  # as where it gives NaN: wrong, not left out
    return labels


def _latency(*_: object) -> Any:
    return timing.time_passes(lambda: None, torch.zeros(1, 3, 32, 32), runtime="onnx")


def test_a_copy_that_loses_more_than_it_may_is_not_written(
    folder: Path, unchanged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = labelled_pictures(None, Path("run/model.safetensors"), _content())
    monkeypatch.setattr(int8, "_answers", _answers)
    monkeypatch.setattr(int8, "_latency", _latency)
    Path("run/model-int8.onnx").unlink()
    before = {path.name for path in Path("run").iterdir()}
    words = r"int8 changes it by -11\.1 points \[-32\.\d, \+\d+\.\d\] of accuracy on 18 pictures"
    with pytest.raises(ValueError, match=words) as refusal:
        export_network("run", to="onnx", int8=True, tolerance=11, force=True)
    assert "asvit export --tolerance allows more" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert {path.name for path in Path("run").iterdir()} == before
    # The point estimate decides.
    how: dict[str, Any] = {"content": _content(), "pictures": pictures.others, "calibrated": 9}
    copies = [Path(name) for name in ("float32.onnx", "int8.onnx")]
    for path in copies:
        path.write_bytes(b"graph")
    found = int8.judge(*copies, **how, tolerance=11.2, progress=print)
    assert found.difference == pytest.approx(-100 / 9)
    assert "with so few, a loss of 32" in found.in_words


def _content() -> WeightsFile:
    return WeightsFile.read(Path("run/model.safetensors"))


def test_the_command_prints_both_copies_and_data_on_stdout_alone(
    whole: tuple[Path, Result],
) -> None:
    _, result = whole
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["int8"]["pictures"] == 18
    assert data["script"] == "run/predict.py"
    assert data["batch"] == 1
    for text in ("float32", "int8: ", "of accuracy on 18 pictures", "script: python"):
        assert text in result.stderr
    assert "--int8 --tolerance 50" in data["command"]

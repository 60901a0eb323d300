"""8-bit copies: which pictures make and judge them, what they cost, and when they are refused."""

import contextlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from torch import Tensor, nn

import asvit
from asvit.data.base import TEST, TRAIN
from asvit.data.copies import file_digest
from asvit.designs.result import DesignResult
from asvit.export import comparison
from asvit.export.formats import INPUT
from asvit.export.quantisation import quantised
from asvit.export.writers import graph_of
from asvit.networks import Network, WeightsFile
from asvit.runs import copying, quantising
from asvit.runs.exporting import export_network
from asvit.runs.quantising import labelled_pictures
from asvit.runs.trained_on import TrainedPictures
from asvit.runs.training import run_training
from asvit.statistics.intervals import paired_difference
from asvit.training.result import TrainResult
from proxies import timing
from tests.asvit.cli.commands import run as run_command
from tests.asvit.export.exported_networks import graphs_traced_once, run_in_this_process
from tests.asvit.runs.stored_results import RIGHT

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


def test_a_network_of_shifts_is_quantised() -> None:
    import onnxruntime
    from onnx import TensorProto
    from onnx.numpy_helper import to_array

    torch.manual_seed(0)
    network = Network.make(architecture="shift:1,1,1,1|1|8|1|16", image_size=32, num_classes=10)
    model = network.build().eval()
    graph = graph_of(model, WeightsFile(network, model.state_dict()))
    images = torch.randn(8, 3, 32, 32)
    copy = quantised(graph, [images.numpy()])
    weights = [tensor for tensor in copy.graph.initializer if tensor.data_type == TensorProto.INT8]
    # More bits than these 7 are clipped by processors without VNNI.
    assert 60 < max(np.abs(to_array(tensor).astype(int)).max() for tensor in weights) <= 64
    (logits,) = onnxruntime.InferenceSession(copy.SerializeToString()).run(
        None, {INPUT: images.numpy()}
    )
    with torch.no_grad():
        exact = model(images).numpy()
    assert 0 < np.abs(logits - exact).max() < 0.1 * np.abs(exact).max()


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
    monkeypatch.setattr(copying, "quantised", lambda graph, images: graph)


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


@pytest.mark.nightly  # ONNX Runtime reads copies in many tests
def test_openvino_reads_the_same_copy(folder: Path) -> None:
    """With preprocessing and 8-bit products: the classes, and probabilities to one per cent."""
    openvino = pytest.importorskip("openvino")
    copy = folder / "run/model-int8.onnx"
    model = openvino.Core().compile_model(copy, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for path in sorted((folder / "colours").rglob("*.png"))[::6]:
        pixels = np.asarray(Image.open(path))
        found = dict(zip(CLASSES, model([pixels])["probabilities"][0].tolist(), strict=True))
        (known,) = asvit.predict(copy, [path])
        expected = {guess.label: guess.probability for guess in known.guesses}
        assert found == pytest.approx(expected, abs=0.01)


def test_the_card_says_what_it_costs(folder: Path) -> None:
    card = Path("run/model-int8.md").read_text()
    size = Path("run/model-int8.onnx").stat().st_size
    assert "## 8-bit integers" in card
    assert f"* size: {size:,} bytes, in float32 " in card
    assert "points [" in card
    assert "* allowed: a loss of 50 points" in card


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


class _Guesses:
    """Stands for both copies: one is right about all pictures, one about all but some."""

    def __init__(self, path: Path, content: WeightsFile) -> None:
        self._wrong = 0 if path.name == "float32.onnx" else 2
        self._seen = 0

    def classes(self, pictures: list[Any]) -> np.ndarray:
        labels = _Guesses.labels[self._seen : self._seen + len(pictures)].copy()
        if not self._seen:
            labels[: self._wrong] += 1
        self._seen += len(pictures)
        return labels

    def latency(self) -> Any:
        return timing.time_passes(lambda: None, torch.zeros(1, 3, 32, 32), runtime="onnx")

    labels = np.zeros(0, np.int64)
    prepare = staticmethod(np.asarray)


def test_pictures_are_read_beside_each_other_and_progress_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = labelled_pictures(None, Path("run/model.safetensors"), _content())
    together = threading.Barrier(4, timeout=10)

    def prepare(picture: Any) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):  # after the first four
            together.wait()
            together.abort()
            met.append(picture)
        return np.asarray(picture)

    met, told = list[Any](), list[str]()
    for path in (copies := [Path(name) for name in ("float32.onnx", "int8.onnx")]):
        path.write_bytes(b"graph")
    for name, value in {
        "labels": pictures.others.labels,
        "prepare": staticmethod(prepare),
    }.items():
        monkeypatch.setattr(_Guesses, name, value)
    for name, value in {"_Graph": _Guesses, "_BATCH": 5, "_EVERY": 8}.items():
        monkeypatch.setattr(quantising, name, value)
    how: dict[str, Any] = {"content": _content(), "pictures": pictures, "calibrated": 9}
    assert quantising.judge(*copies, **how, tolerance=12, progress=told.append).pictures == 18
    assert met
    assert told == ["judging both copies on 18 pictures", "judged both on 10 of 18"]


def test_a_copy_that_loses_more_than_it_may_is_not_written(
    folder: Path, unchanged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = labelled_pictures(None, Path("run/model.safetensors"), _content())
    monkeypatch.setattr(_Guesses, "labels", pictures.others.labels)
    monkeypatch.setattr(quantising, "_Graph", _Guesses)
    Path("run/model-int8.onnx").unlink()
    before = {path.name for path in Path("run").iterdir()}
    words = r"int8 changes it by -11\.1 points \[-32\.\d, \+\d+\.\d\] of accuracy on 18 pictures"
    with pytest.raises(ValueError, match=words) as refusal:
        export_network("run", to="onnx", int8=True, tolerance=11, force=True)
    assert "asvit export --tolerance allows more" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert {path.name for path in Path("run").iterdir()} == before
    # The point estimate decides.
    how: dict[str, Any] = {"content": _content(), "pictures": pictures, "calibrated": 9}
    copies = [Path(name) for name in ("float32.onnx", "int8.onnx")]
    for path in copies:
        path.write_bytes(b"graph")
    found = quantising.judge(*copies, **how, tolerance=11.2, progress=print)
    assert found.difference == pytest.approx(-100 / 9)
    assert "with so few, a loss of 32" in found.in_words


def _content() -> WeightsFile:
    return WeightsFile.read(Path("run/model.safetensors"))


@pytest.mark.parametrize(("reading", "channels"), [("", 3), (":grey", 1)])
def test_pictures_of_a_design_are_those_of_its_list_also_where_it_has_moved(
    reading: str, channels: int, folder: Path
) -> None:
    pictures = labelled_pictures(None, Path("run/model.safetensors"), _content())
    names = [f"{name}/{number}.png" for name in CLASSES for number in range(20)]
    rows = []
    for place, name in enumerate(names):
        path = folder / "colours" / name
        digest = file_digest(path)
        part = TEST if place % 5 == 0 else TRAIN
        rows.append(f"{name},{name.partition('/')[0]},{part},{path.stat().st_size},{digest}")
    design = folder / "design"
    design.mkdir()
    text = "\n".join(["# images in ../colours", "image,class,part,bytes,sha256", *rows, ""])
    (design / "images.csv").write_text(text)
    result = RIGHT[DesignResult][0]
    settings = replace(result.settings, data=f"colours{reading}")
    replace(result, settings=settings, folder=design).write()
    shutil.copy("run/model.safetensors", design)
    run = TrainResult.read(Path("run/result.json"))
    data = f"{design}/images.csv{reading}"
    replace(run, settings=replace(run.settings, data=data, train_on_validation=True)).write()
    for weights in (design / "model.safetensors", Path("run/model.safetensors")):
        sets = labelled_pictures(None, weights, _content())
        assert (len(sets.trained), len(sets.others)) == (48, 12)
        assert (sets.trained.kind.channels, sets.others.kind.channels) == (channels, channels)
    assert len(pictures.others) == 18
    shutil.copytree("run", design / "training")
    moved = design.rename(folder / "moved")
    sets = labelled_pictures(None, moved / "training" / "model.safetensors", _content())
    assert (len(sets.trained), len(sets.others)) == (48, 12)
    assert len(TrainedPictures.of(str(moved / "training")).digests) == 48


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"data": "elsewhere"}, "no folder 'elsewhere', and no images of that name"),
        ({"weights": "alone.safetensors"}, "do not say which pictures they were trained on"),
        ({"data": "others"}, "other classes than the network, such as 'a' in the place of 'blue'"),
        ({"data": "colours:grey"}, "colours:grey has images of 8-bit grey, the network is for 8-"),
        ({"data": "fewer"}, "such as none in the place of 'red'; name pictures"),
        ({"data": "more"}, None),
    ],
)
def test_pictures_that_cannot_be_used(
    given: dict[str, str], words: str | None, folder: Path, unchanged: None
) -> None:
    shutil.copy("run/model.safetensors", "alone.safetensors")
    for name, colour in {"a": "red", "b": "green"}.items():
        shutil.copytree(f"colours/{colour}", f"others/{name}")
    for colour in ("blue", "green"):
        shutil.copytree(f"colours/{colour}", f"fewer/{colour}")
    shutil.copytree("colours", "more")
    options = {"weights": "run", "to": "onnx", "out": "out.onnx", "int8": True, **given}
    if words is None:
        made = export_network(**options, tolerance=50)
        assert made.quantisation.source.startswith("folder more, 60 images")
        return
    with pytest.raises((ValueError, FileNotFoundError), match=words) as refusal:
        export_network(**options)
    assert len(str(refusal.value).splitlines()) == 1
    assert not Path("out.onnx").exists()


def test_pictures_have_the_labels_of_the_network_whose_classes_are_in_another_order(
    folder: Path,
) -> None:
    network = replace(_content(), classes=("green", "red", "blue"))
    ours, theirs = (labelled_pictures("colours", None, of).others for of in (_content(), network))
    assert (ours.classes, theirs.classes) == (CLASSES, network.classes)
    assert [theirs.name(at) for at in range(6)] == [ours.name(at) for at in range(6)]
    assert [theirs.classes[label] for label in theirs.labels] == [
        ours.classes[label] for label in ours.labels
    ]


def test_a_class_that_differs_is_named_whatever_the_order(folder: Path) -> None:
    network = replace(_content(), classes=("green", "pink", "blue"))
    with pytest.raises(ValueError, match="such as 'red' in the place of 'pink'; name pictures"):
        labelled_pictures("colours", None, network)


def test_classes_whose_long_names_differ_in_the_middle_are_others(folder: Path) -> None:
    ours, theirs = ([f"{'a' * 120}{middle}{'a' * 120}" for middle in of] for of in ("bc", "bd"))
    for name, colour in zip(ours, ("red", "green"), strict=True):
        shutil.copytree(f"colours/{colour}", f"long/{name}")
    with pytest.raises(ValueError, match="other classes than the network, such as 'aaa"):
        labelled_pictures("long", None, replace(_content(), classes=tuple(theirs)))


def test_pictures_that_have_changed_are_not_taken_for_those_of_the_training(
    folder: Path,
) -> None:
    Path("colours/red/0.png").rename("colours/red/new.png")
    with pytest.raises(ValueError, match="has other pictures than when run was trained on it"):
        export_network("run", to="onnx", int8=True, force=True)


def test_a_training_on_all_pictures_has_none_to_judge_by(folder: Path) -> None:
    result = TrainResult.read(Path("run/result.json"))
    settings = replace(result.settings, train_on_validation=True)
    replace(result, settings=settings).write()
    with pytest.raises(ValueError, match="was trained on its validation pictures, too"):
        export_network("run", to="onnx", int8=True, force=True)


@pytest.mark.parametrize("both", [True, False])
def test_pictures_to_judge_by_that_were_trained_on_are_counted(
    both: bool, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Copies of those of a training; on all of them, or but for those that it holds out."""
    shutil.copytree("colours", "more")
    result = TrainResult.read(Path("run/result.json"))
    replace(result, settings=replace(result.settings, train_on_validation=both)).write()
    labelled_pictures("more", Path("run/model.safetensors"), _content())
    words = "the network was trained on 18 of the 18 pictures that the copy is judged by"
    assert (words in caplog.text) == both


def test_an_unreadable_picture_is_left_out_and_named(
    folder: Path, unchanged: None, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = labelled_pictures(None, Path("run/model.safetensors"), _content())
    bad = Path("colours", pictures.others.name(0))
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    found = export_network("run", to="onnx", int8=True, tolerance=50, force=True).quantisation
    assert found.pictures == 17
    assert f"left out: cannot read image '{bad}'" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"to": "pt2", "int8": True}, "int8 is for onnx, not for pt2; leave it out"),
        ({"to": "onnx", "data": "colours"}, "data=colours is for int8; give that, too"),
        ({"to": "onnx", "tolerance": 2.0}, "tolerance=2.0 is for int8; give that, too"),
    ],
)
def test_options_that_do_not_suit(options: dict[str, Any], words: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=words):
        export_network("run", **options)


def test_without_the_quantiser_the_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    result = run_command("export", "run", "--to", "onnx", "--int8", "--force")
    assert result.exit_code == 3
    lines = result.stderr.splitlines()
    assert (
        "int8 needs onnxruntime.quantization: in the checkout of asvit, pip install" in lines[-1]
    )


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


def test_a_batch_of_a_fixed_size_is_filled_up(folder: Path) -> None:
    options = {"to": "onnx", "int8": True, "tolerance": 50, "batch": 4, "out": "four.onnx"}
    found = export_network("run", **options, card=False).quantisation
    assert (found.pictures, found.calibrated, found.latency.batch) == (18, 42, 4)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(3 * 8 * 8, 2), nn.LayerNorm(3 * 8 * 8)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.fc(self.norm(images.flatten(1)))
        return out + out


def test_of_a_transformer_products_alone_are_quantised() -> None:
    from asvit.export.quantisation import quantised
    from asvit.export.writers import onnx_graph, trace

    torch.manual_seed(0)
    graph = onnx_graph(trace(_Attention().eval(), image_size=8))
    rng = np.random.default_rng(0)
    made = quantised(graph, [rng.normal(size=(1, 3, 8, 8)).astype(np.float32) for _ in range(3)])
    nodes = {node.op_type: node for node in made.graph.node}
    scaled = {name for node in made.graph.node for name in node.output if "Deq" in node.op_type}
    assert nodes["Gemm"].input[0] in scaled
    assert nodes["LayerNormalization"].input[0] not in scaled
    taken = {node.input[0] for node in made.graph.node if node.op_type == "QuantizeLinear"}
    assert nodes["Add"].output[0] not in taken


@pytest.mark.parametrize(("size", "at_once"), [(1, 8), (4, 2), (32, 1)])
def test_few_pictures_are_in_memory_together_whatever_the_batch(
    size: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx import TensorProto, helper
    from onnxruntime import quantization

    shape = [size, 3, 8, 8]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in (INPUT, "out")]
    nodes = [helper.make_node("Relu", [INPUT], ["out"])]
    opset = [helper.make_opsetid("", 18)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    strides: list[int] = []

    def record(*_given: Any, extra_options: dict[str, int], **_how: Any) -> None:
        strides.append(extra_options["CalibStridedMinMax"])
        raise RuntimeError("enough")

    monkeypatch.setattr(quantization, "quantize_static", record)
    with pytest.raises(ValueError, match="enough"):
        quantised(
            helper.make_model(graph, opset_imports=opset, ir_version=9),
            [np.zeros(shape, np.float32)] * 8,
        )
    assert strides == [at_once]


def test_a_network_that_cannot_be_quantised_says_so_in_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime import quantization

    def fail(*_given: Any, **_how: Any) -> None:
        raise RuntimeError("no such\nnode")

    monkeypatch.setattr(quantization, "quantize_static", fail)
    with pytest.raises(ValueError, match=r"cannot quantise this network: no such$"):
        export_network("run", to="onnx", int8=True, force=True)


def test_networks_without_a_run_need_named_pictures(folder: Path) -> None:
    network = Network(TEXT, 32, 3)
    content = WeightsFile(network, network.build().state_dict())
    with pytest.raises(ValueError, match="random weights do not say which pictures"):
        labelled_pictures(None, None, content)
    assert len(labelled_pictures("colours", None, content).others) == 6
    more = replace(content, network=Network(TEXT, 32, 5))
    with pytest.raises(ValueError, match="the pictures have 3 classes, the network has 5; name"):
        labelled_pictures("colours", None, more)

"""Detectors and segmenters from the command line and from Python, from start to report."""

import itertools
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torchvision.models.detection import MaskRCNN

from asvit.data.statistics import Normalisation
from asvit.networks import Network, WeightsFile
from asvit.runs.transfer import (
    run_detection,
    run_segmentation,
)
from asvit.training.checkpoint import Checkpoint
from asvit.transfer import cascade, detector
from asvit.transfer.settings import (
    DetectionRow,
    DetectionSettings,
    TransferSettings,
)
from asvit.transfer.task import Start
from tests.asvit.cli.commands import check_refused, run, strict
from tests.asvit.runs.fakes import stop_after
from tests.asvit.transfer.tiny_scenes import ARCH, DETECTION, SEGMENTATION, make_data, prepared
from tests.campaigns import forked

SHIFT = "shift:1,1,1,1|2|12|1|24"


def words(kind: str, out: str = "run", **more: Any) -> list[str]:
    """The command of a small run."""
    given = {**(DETECTION if kind == "detect" else SEGMENTATION), "device": "cpu", "out": out}
    given |= {"scale": "1,1", **more}
    options = [[f"--{name.replace('_', '-')}", str(value)] for name, value in given.items()]
    named = [one for one in options if one[0] != "--architecture"]
    return ["transfer", kind, str(given["architecture"]), *itertools.chain(*named)]


@pytest.fixture
def _small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five objects an image in place of a hundred, and narrow heads: masks take the time."""
    monkeypatch.setattr(detector, "MaskRCNN", partial(MaskRCNN, box_detections_per_img=5))
    monkeypatch.setattr(cascade, "HIDDEN", 64)
    monkeypatch.setattr(cascade, "MASKS", 64)


def test_the_network_and_the_colours_come_from_the_weights(tmp_path: Path) -> None:
    network = Network(ARCH, image_size=32, num_classes=2)
    facts = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    file = tmp_path / "model.safetensors"
    WeightsFile(network, network.build().state_dict(), facts=facts).write(file)
    for weights in (file, tmp_path):  # a file, or the folder of a training
        settings = TransferSettings(data="none", weights=str(weights), image_size=64)
        start = Start.of(settings)
        assert start.pyramid(settings).channels == (16, 32, 64, 128)
        colours = start.normalisation
        assert (colours.mean, colours.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    save_file(network.build().state_dict(), file)
    imagenet = Normalisation(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    named = TransferSettings(architecture=ARCH, data="none", weights=str(file), image_size=64)
    assert Start.of(named).normalisation == imagenet
    with pytest.raises(ValueError, match="name the architecture"):
        Start.of(settings)
    halves = "timm:tf_mobilenetv3_small_minimal_100"  # whose weights timm has for [-1, 1]
    save_file(Network(halves, 64, 2).build().state_dict(), file)
    normalisation = Start.of(replace(named, architecture=halves)).normalisation
    assert [*normalisation.mean, *normalisation.std] == [0.5] * 6


@pytest.mark.usefixtures("_small_heads")
def test_a_detector_goes_on_to_the_same_bits_and_has_a_report() -> None:
    make_data(4, 2)
    whole = run(*words("detect", "whole", epochs=2), "--json")
    assert whole.exit_code == 0, whole.stderr
    data = strict(whole.stdout)
    assert set(data) >= {"bbox_map", "segm_map_75", "history", "params", "classes", "found_by"}
    assert data["architecture"] == ARCH
    assert "2 images" in data["images"]["source"]
    options = {**DETECTION, "epochs": 2, "device": "cpu", "out": "stopped"}
    with pytest.raises(KeyboardInterrupt):
        run_detection(**options, progress=stop_after(1))
    assert not Path("stopped/result.json").exists()
    result = run_detection(**options)
    read = partial(Checkpoint.read, kind="detection", settings=DetectionSettings, row=DetectionRow)
    one, other = (read(Path(folder, "detector.safetensors")) for folder in ("whole", "stopped"))
    assert all(torch.equal(w, other.state.weights[name]) for name, w in one.state.weights.items())
    assert one.origin.classes == other.origin.classes == ("ellipse", "rectangle")
    assert result.values == {name: data[name] for name in result.values}
    assert len(result.to_dataframe()) == 2
    page = Path("stopped/report.html").read_text()
    assert "Loss and metrics" in page
    made = [Path("whole", name) for name in ("report.html", "curves.csv")]
    before = [path.read_bytes() for path in made]
    for path in made:
        path.unlink()
    assert run("report", "whole").exit_code == 0
    assert [path.read_bytes() for path in made] == before
    refused = run(*words("detect", "whole", epochs=3))
    check_refused(refused, 3, "epochs 2 (now 3)")
    shutil.rmtree("data")
    assert "had finished before" in run(*words("detect", "whole", epochs=2)).stderr


@pytest.mark.parametrize("arch", [ARCH, SHIFT])
def test_a_segmenter_learns_more_than_chance(arch: str) -> None:
    make_data(8, 4)
    given = {**SEGMENTATION, "architecture": arch, "head": 32, "epochs": 8, "warmup": 2}
    result = run_segmentation(**{**given, "learning_rate": 2e-3}, device="cpu", out="run")
    assert result.history[-1].loss < 0.9 * result.history[0].loss
    # All pixels in the most frequent class give an IoU below 100 for it and 0 for two others.
    assert 100 / 3 < result.values["mean_iou"] < result.values["pixel_accuracy"]


LINES = [
    ("detect", {"architecture": "psvit1d:b-----|b-----|b-----|16"}, 3, "stride 16 px only"),
    ("detect", {"architecture": "8,4,2|4,4,2"}, 2, "is not K,S,E"),
    ("detect", {"weights": "missing.pth"}, 3, "no file of weights 'missing.pth'"),
    ("detect", {"data": "elsewhere"}, 3, "give a folder in COCO's format"),
    ("detect", {"epochs": 0}, 2, "epochs"),
    ("detect", {"scale": "2,1"}, 2, "scale must be two numbers, least first"),
    ("detect", {"device": "nowhere"}, 3, "device 'nowhere' is not available"),
    ("detect", {}, 3, "000002.png"),  # is truncated
    ("segment", {"classes": 2}, 3, "has class 3, not up to 2"),
    ("segment", {"classes": 300}, 2, "classes must be at most 255, got 300"),
    ("segment", {"data": "elsewhere"}, 3, "give one in ADE20K's format"),
    (
        "segment",
        {"batch_size": 16},
        3,
        "a batch of 16 images is more than there are to train on: data: 4 images",
    ),
    ("segment", {"learning_rate": 1e30}, 3, "use a lower learning rate than 1e+30"),
]


@pytest.mark.parametrize(("kind", "more", "code", "said"), LINES)
def test_bad_input_is_told_in_a_line(kind: str, more: Any, code: int, said: str) -> None:
    make_data(4, 4)
    truncated = Path("data/train/000002.png")
    truncated.write_bytes(truncated.read_bytes()[:400])
    result = run(*words(kind, **{"epochs": 2, **more}), "--quiet")
    check_refused(result, code, said)
    assert not Path("run/result.json").exists()


@pytest.mark.slow
def test_two_processes_train_one_detector(tmp_path: Path) -> None:
    make_data(4, 3)  # the second process validates on one image, the first on two
    # After an update at the usual rate, all would be background.
    slow = {"detector": "mask", "learning_rate": 1e-4}
    command = words("detect", data=Path("data").resolve(), **slow)
    with forked.pair([*command, "--json", "--quiet"], tmp_path / "run") as both:
        outcomes = forked.ended(both, tmp_path / "run")
    assert [code for code, _ in outcomes] == [0, 0], outcomes
    data = strict(forked.printed(tmp_path / "0", forked.STDOUT))
    types: Any = {"settings": DetectionSettings, "row": DetectionRow}
    file = Checkpoint.read(Path("run/detector.safetensors"), kind="detection", **types)
    task = detector.Detection(file.origin.settings)
    task.network.load_state_dict(file.state.weights)
    alone = task.measure(prepared(task))
    names = ("bbox_map", "bbox_map_50", "segm_map", "segm_map_50")
    assert [data[name] for name in names] == pytest.approx(
        [alone[name] for name in names], abs=0.02
    )
    assert min(alone[name] for name in names) > 0.1

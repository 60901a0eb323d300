"""A finished design in the place of an architecture, and of weights."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from asvit.designs.result import DesignResult
from asvit.export.settings import ExportSettings
from asvit.networks import Network, WeightsFile
from asvit.runs.exporting import find_source, name_weights
from asvit.runs.run import RUNS
from asvit.training.pretrained import load_pretrained
from tests.asvit.cli.commands import check_refused, run, strict
from tests.asvit.runs.stored_results import RIGHT, SEED


@pytest.fixture(autouse=True)
def _designed() -> None:
    """A finished design in the folder ``run``, and a picture."""
    Path("run").mkdir()
    replace(RIGHT[DesignResult][0], folder=Path("run")).write()
    network = Network(SEED, 32, 2)
    weights = network.build().state_dict()
    WeightsFile(network, weights, ("cat", "dog")).write(Path("run/model.safetensors"))
    Image.new("RGB", (40, 40)).save("red.png")


@pytest.mark.parametrize("text", ["run", "run/result.json"])
@pytest.mark.parametrize(
    "command",
    ["cost {}", "score {} --proxy params", "maps {} red.png"],
)
def test_a_design_is_an_architecture_of_single_commands(command: str, text: str) -> None:
    done = run(*shlex.split(command.format(text)))
    assert done.exit_code == 0, done.stderr
    assert SEED in done.stdout or "maps/red-maps.svg" in done.stdout


@pytest.mark.parametrize("options", ["", "--classes 7", "--image-size 96", "--data digits"])
def test_a_trained_network_is_counted_as_it_is(options: str) -> None:
    counted = strict(run("cost", "run", "--json", *options.split()).stdout)["architectures"][0]
    sizes = (counted["image_size"], counted["classes"])
    asked = {"--classes 7": (64, 7), "--image-size 96": (96, 2), "--data digits": (64, 10)}
    assert sizes == asked.get(options, (64, 2))
    assert run("cost", "run", SEED).stdout.splitlines()[-1].endswith("64 px, 2 classes")
    assert run("cost", SEED).stdout.splitlines()[-1].endswith("224 px, 1000 classes")


@pytest.mark.parametrize("command", ["train", "scale", "transfer detect"])
def test_a_design_is_an_architecture_of_runs(command: str) -> None:
    data = {"data": "scenes"} if command.startswith("transfer") else {}
    made = RUNS[command].make(architecture="run", **data)
    assert made.settings.architecture.startswith("4,2,2")


def test_a_design_stands_for_its_weights() -> None:
    weights = WeightsFile.read(Path("run/model.safetensors"))
    for given in ({"architecture": "run"}, {"weights": "run"}):
        content, _, size = find_source(name_weights(ExportSettings("timm", **given)))
        assert (content.network, content.classes, size) == (weights.network, ("cat", "dog"), 32)
    model = weights.network.build()
    load_pretrained(model, "run", new_head=False)
    assert all(
        (model.state_dict()[name] == value).all() for name, value in weights.weights.items()
    )


def test_a_design_without_weights_says_how_to_train_it() -> None:
    Path("run/model.safetensors").unlink()
    refused = run("export", "run", "--to", "onnx")
    check_refused(refused, 2, "run, a design, has no weights; train it first (asvit train run)")

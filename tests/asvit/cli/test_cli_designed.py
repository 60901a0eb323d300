"""A finished design in the place of an architecture, and of weights."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from asvit.designs.result import DesignResult
from asvit.export.exporting import find_network, name_weights
from asvit.export.settings import ExportSettings
from asvit.networks import Network, WeightsFile
from asvit.networks.opening import load_pretrained
from tests.asvit.cli.commands import run
from tests.asvit.runs.stored_results import RIGHT, SEED


@pytest.fixture(autouse=True)
def _designed() -> None:
    """A finished design in the folder ``run``."""
    Path("run").mkdir()
    replace(RIGHT[DesignResult][0], folder=Path("run")).write()
    network = Network(SEED, 32, 2)
    weights = network.build().state_dict()
    WeightsFile(network, weights, ("cat", "dog")).write(Path("run/model.safetensors"))


@pytest.mark.parametrize("text", ["run", "run/result.json"])
@pytest.mark.parametrize("command", ["cost {}", "score {} --proxy params"])
def test_a_design_is_an_architecture_of_single_commands(command: str, text: str) -> None:
    done = run(*shlex.split(command.format(text)))
    assert done.exit_code == 0, done.stderr
    assert SEED in done.stdout


def test_a_design_stands_for_its_weights() -> None:
    weights = WeightsFile.read(Path("run/model.safetensors"))
    for given in ({"architecture": "run"}, {"weights": "run"}):
        content = find_network(name_weights(ExportSettings("timm", **given)))
        assert (content.network, content.classes) == (weights.network, ("cat", "dog"))
    model = weights.network.build()
    load_pretrained(model, "run", new_head=False)
    assert all(
        (model.state_dict()[name] == value).all() for name, value in weights.weights.items()
    )

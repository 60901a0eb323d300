"""Designs with pretrained networks in their last round: which ones, whose weights, and stops."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
from torch import nn

from asvit.data import MEAN, STD
from asvit.networks import Network, WeightsFile
from asvit.networks.opening import load_pretrained
from asvit.runs.designing import design
from asvit.spaces import TIMM_FAMILIES
from tests.asvit.runs.designing_fakes import TEXTS, Fakes, without_times

LIMITS = {"max_params": "1M", "space": "asvit"}
HUB = {"max_params": "1.5M", "space": "asvit,mobilenet", "pretrained": "hub"}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for other classes and larger images."""
    network = Network(TEXTS[1], 128, 7)
    path = tmp_path_factory.mktemp("trained") / "model.safetensors"
    WeightsFile(network, network.build().state_dict()).write(path)
    return path


class Hub:
    """In place of timm's downloads: random weights, or none without a network."""

    def __init__(self, create: Callable[..., nn.Module]) -> None:
        self.asked: list[str] = []
        self.offline = False
        self._create = create

    def __call__(self, name: str, *, pretrained: bool = False, **arguments: Any) -> nn.Module:
        if pretrained:
            self.asked.append(name)
            if self.offline:
                try:
                    raise OSError("[Errno -2] Name or service not known")
                except OSError as error:
                    raise FileNotFoundError("An error happened on\nthe Hub") from error
        return self._create(name, **arguments)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(timm.create_model)
    monkeypatch.setattr(timm, "create_model", made)
    return made


@pytest.mark.parametrize("family", TIMM_FAMILIES)
def test_published_networks_take_our_images_and_classes(family: str, tmp_path: Path) -> None:
    for place, name in enumerate(TIMM_FAMILIES[family].pretrained):
        config = timm.get_pretrained_cfg(name)
        assert config.hf_hub_id
        assert config.mean == pytest.approx(MEAN, abs=1e-3)
        assert config.std == pytest.approx(STD, abs=1e-3)
        if place == 0:
            text = f"timm:{name.partition('.')[0]}"
            model = Network(text, 64, 5).build()
            file = tmp_path / "model.safetensors"
            WeightsFile(Network(text), Network(text).build().state_dict()).write(file)
            assert load_pretrained(model, str(file), new_head=True)


def test_a_trained_network_joins_the_last_round_and_may_win(
    pictures: Path,
    trained: Path,
    tmp_path: Path,
    fakes: Fakes,
) -> None:
    fakes.validation = {"pretrained-1": 90.0}
    result = design(pictures, pretrained=str(trained), out=tmp_path, **LIMITS)
    assert [call for call in fakes.calls if call.startswith(("fin", "pre", "tra"))] == [
        *("finalist-1", "finalist-2", "finalist-3", "pretrained-1", "training")
    ]
    first = tmp_path / "pretrained-1.safetensors"
    assert fakes.trained["pretrained-1"].weights == str(first)
    assert fakes.trained["training"].weights == str(tmp_path / "pretrained-1")
    assert fakes.trained["finalist-1"].weights is None
    copy, original = WeightsFile.read(first), WeightsFile.read(trained)
    assert copy.network == original.network
    assert all((tensor == original.weights[name]).all() for name, tensor in copy.weights.items())
    assert (result.architecture, result.pretrained) == (TEXTS[1], str(trained))
    assert [racer.origin for racer in result.last_round] == [
        *("pretrained", "search", "by hand", "search")
    ]
    assert not result.hand_made.pretrained
    assert result.difference == 25.0
    assert f"A network, fine-tuned from {trained}, was trained on" in result.outcome
    assert "a published shape, which was trained from scratch: " in result.outcome
    assert fakes.card["pretrained"] == "fine-tuned from model.safetensors"  # no path
    page = (tmp_path / "report.html").read_text()
    assert f"fine-tuned from {trained}" in page
    assert any(
        f"--weights {first}" in command and "--new-head" in command for command in result.commands
    )


@pytest.mark.parametrize("stop", ["search", "finalist-2", "pretrained-1", "test pretrained-1"])
def test_a_stopped_design_goes_on_with_the_weights_that_it_has(
    stop: str, pictures: Path, trained: Path, tmp_path: Path, fakes: Fakes
) -> None:
    file = tmp_path / "theirs.safetensors"
    file.write_bytes(trained.read_bytes())
    given: dict[str, Any] = {**LIMITS, "pretrained": file.name, "out": "run"}
    whole = design(pictures, **given)
    (tmp_path / "run").rename(tmp_path / "whole")
    fakes.stop_in(stop, pictures, **given)
    if stop != "search":
        file.unlink()  # there is a copy
    assert without_times(design(pictures, **given)) == without_times(whole)


def test_published_networks_are_the_largest_within_the_limits(
    pictures: Path,
    tmp_path: Path,
    fakes: Fakes,
    hub: Hub,
) -> None:
    fakes.stop_in("pretrained-1", pictures, out=tmp_path, **HUB)
    assert {*hub.asked} == {"mobilenetv3_small_075.lamb_in1k"}  # the next one has 1.52 M
    first = WeightsFile.read(tmp_path / "pretrained-1.safetensors")
    assert first.network == Network("timm:mobilenetv3_small_075", 224, 1000)
    hub.asked.clear()
    hub.offline = True
    fakes.validation = {"pretrained-1": 90.0}
    result = design(pictures, out=tmp_path, **HUB)
    assert hub.asked == []
    assert result.pretrained == "timm:mobilenetv3_small_075.lamb_in1k"
    assert (result.family, result.params) == ("mobilenet", 1_018_922)
    assert "fine-tuned from timm:mobilenetv3_small_075.lamb_in1k" in result.outcome
    rates = {
        name: command.partition("--learning-rate ")[2].split()[0]
        for command in result.commands
        for name in ("finalist-1", "pretrained-1", "training")
        if command.endswith(name)
    }
    scratch = float(rates["finalist-1"])
    tuned = pytest.approx(scratch / 12)  # AdamW's rate is a third of Muon's
    assert float(rates["pretrained-1"]) == tuned == float(rates["training"])
    with_adamw = [command for command in result.commands if "--optimizer adamw" in command]
    assert ["--weight-decay 0.05" in command for command in with_adamw] == [True] * 2
    assert [command.endswith(("pretrained-1", "training")) for command in with_adamw] == [True] * 2
    assert not any(path.name == "pretrained-2" for path in tmp_path.iterdir())

"""Designs with pretrained networks in their last round: which ones, whose weights, and stops."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from asvit.data import MEAN, STD
from asvit.data.base import TRAIN
from asvit.data.copies import file_digest
from asvit.data.tables import ListedImage, list_text
from asvit.designs.journal import DesignJournal
from asvit.networks import Network, WeightsFile
from asvit.runs.designing import design
from asvit.spaces import TIMM_FAMILIES
from asvit.training.pretrained import load_pretrained, named_weights
from tests.asvit.cli.commands import run
from tests.asvit.runs.designing_fakes import TEXTS, Fakes, without_times
from tests.asvit.runs.fakes import write_pictures

LIMITS = {"max_params": "1M", "space": "asvit"}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}
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
    assert f"asvit, {TEXTS[1]}, fine-tuned from {trained}: 100" in result.outcome
    assert "network made by hand and trained from scratch, 8,2,3" in result.outcome
    assert fakes.card["pretrained"] == "fine-tuned from model.safetensors"  # no path
    page = (tmp_path / "report.html").read_text()
    assert f"fine-tuned from {trained}" in page
    assert any(
        f"--weights {first}" in command and "--new-head" in command for command in result.commands
    )


@pytest.mark.parametrize(
    ("text", "ending", "facts"),
    [
        (TEXTS[1], "pth", {}),
        ("timm:test_resnet", "safetensors", HALF),
        ("timm:test_vit", "pt", HALF),
    ],
)
def test_weights_from_elsewhere_join_under_the_name_of_their_network(
    text: str, ending: str, facts: Any, pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    weights = Network(text, num_classes=7).build().state_dict()
    file = tmp_path / f"theirs.{ending}"
    if ending == "safetensors":
        save_file(weights, file)
    else:
        torch.save({"state_dict": weights, "epoch": 3}, file)
    fakes.validation = {"pretrained-1": 90.0}
    given: dict[str, Any] = {"max_params": "6M", "space": "asvit", "pretrained": str(file)}
    with pytest.raises(ValueError, match=r"not which network they are of; name the architecture"):
        design(pictures, out=tmp_path / "run", **given)
    result = design(pictures, out=tmp_path / "run", architecture=text, **given)
    assert (result.architecture, result.pretrained) == (text, str(file))
    stored = WeightsFile.read(tmp_path / "run/pretrained-1.safetensors")
    assert (stored.network, stored.facts) == (Network(text, num_classes=7), facts)
    assert fakes.trained["pretrained-1"].optimizer == "adamw"
    with pytest.raises(ValueError, match=f"says that it is of .*; leave out {re.escape(text)}"):
        named_weights(str(tmp_path / "run/pretrained-1.safetensors"), text)


@pytest.mark.parametrize("known", [True, False])
def test_test_pictures_that_a_trained_network_has_seen_are_counted(
    known: bool,
    pictures: Path,
    trained: Path,
    tmp_path: Path,
    fakes: Fakes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """That of an earlier design, which tested on other pictures."""
    old = tmp_path / "old"
    old.mkdir()
    (old / ".kind").write_text("design\n")
    file = old / ("model.safetensors" if known else "pretrained-1.safetensors")
    file.write_bytes(trained.read_bytes())
    images = sorted(pictures.rglob("*.jpg"))
    rows = [
        ListedImage(path.name, path.parent.name, TRAIN, 0, file_digest(path)) for path in images
    ]
    (old / "images.csv").write_text(list_text(rows))
    fakes.validation = {"pretrained-1": 90.0}
    result = design(pictures, pretrained=str(file), out=tmp_path / "run", **LIMITS)
    assert [racer.trained_on for racer in result.last_round] == [4 * known, 0, 0, 0]
    words = "trained on 4 of the 4 test pictures: on others its network is worse"
    assert (f"{file} was {words}" in caplog.text) == known
    words = " (trained on 4 of the test pictures: on others it is worse)" * known
    assert f"fine-tuned from {file}{words}: 100" in result.outcome
    assert fakes.card["pretrained"] == f"fine-tuned from {file.name}{words}"


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


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"pretrained": "none"}, "no file of weights 'none'"),
        ({"pretrained": "none", "architecture": TEXTS[1]}, "no file of weights 'none'"),
        ({"architecture": TEXTS[1]}, "says that it is of "),
        ({"pretrained": "hub", "architecture": TEXTS[1]}, "is that of a file of weights; give"),
        ({"max_params": "20K"}, "the pretrained network, .* parameters, more than the 20,000 all"),
        ({"image_size": 40}, "does not divide"),
        ({"pretrained": "hub"}, "timm publishes no weights of networks of space asvit; add one"),
        ({"pretrained": "hub", "space": "asvit,swin"}, "the smallest pretrained one, timm:swin_t"),
    ],
)
def test_networks_that_cannot_race_are_refused_at_the_start(
    given: dict[str, Any], words: str, pictures: Path, trained: Path, tmp_path: Path,
    fakes: Fakes,
) -> None:  # fmt: skip
    given = {**LIMITS, "pretrained": str(trained), **given}
    with pytest.raises((ValueError, FileNotFoundError), match=words) as raised:
        design(pictures, out=tmp_path / "run", **given)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()
    assert fakes.calls == []


def test_a_dry_run_has_all_stages_before_it_and_counts_the_pictures(
    pictures: Path, trained: Path, tmp_path: Path, fakes: Fakes
) -> None:
    words = ["--max-params", "1M", "--space", "asvit", "--pretrained", trained, "--dry-run"]
    words += ["--json", "--quiet", "--out", tmp_path / "run"]
    plan = json.loads(run("design", "--data", pictures, *words).stdout)
    assert (plan["done"], plan["next"][:2]) == ([], ["pictures", "plan"])
    few = write_pictures(tmp_path / "few", each=4)
    assert "has 4 readable picture(s)" in run("design", "--data", few, *words).stderr
    assert fakes.calls == []


def test_a_machine_without_a_network_is_told_so_before_anything_is_done(
    pictures: Path,
    tmp_path: Path,
    fakes: Fakes,
    hub: Hub,
) -> None:
    hub.offline = True
    with pytest.raises(FileNotFoundError) as raised:
        design(pictures, out=tmp_path / "run", **HUB)
    assert str(raised.value) == (
        "timm's weights of 'mobilenetv3_small_075.lamb_in1k' are not on this machine and cannot "
        "be downloaded ([Errno -2] Name or service not known); go online, or give a file of "
        "weights"
    )
    assert not (tmp_path / "run").exists()
    assert fakes.calls == []


def test_another_pretrained_network_goes_on_until_a_network_is_chosen(
    pictures: Path,
    trained: Path,
    tmp_path: Path,
    fakes: Fakes,
) -> None:
    fakes.stop_in("search", pictures, out=tmp_path, **LIMITS)
    fakes.stop_in("finalist-1", pictures, out=tmp_path, pretrained=str(trained), **LIMITS)
    with pytest.raises(ValueError, match="was started with other settings: pretrained"):
        design(pictures, out=tmp_path, **LIMITS)
    result = design(pictures, out=tmp_path, pretrained=str(trained), **LIMITS)
    assert len(result.last_round) == 4
    design(pictures, out=tmp_path, fresh=True, **LIMITS)
    assert not (tmp_path / "pretrained-1.safetensors").exists()


def test_a_network_that_takes_too_long_is_left_out(
    pictures: Path, trained: Path, tmp_path: Path, fakes: Fakes,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    given: dict[str, Any] = {**LIMITS, "image_size": 64, "hours": 0.8}
    slow = fakes.plan

    def plan(run: Any) -> Any:
        times = slow(run)
        if run.settings.architecture == TEXTS[1] and "search" in fakes.calls:
            times["time"]["epoch"] = 100.0
        return times

    monkeypatch.setattr(fakes, "plan", plan)
    result = design(pictures, out=tmp_path, pretrained=str(trained), **given)
    assert "no pretrained network is in the last round" in caplog.text
    assert "5 epochs take 8:20 at 64 px" in caplog.text
    assert [racer.pretrained for racer in result.last_round] == ["", "", ""]
    journal = DesignJournal(tmp_path / "design.jsonl")
    assert journal.results["pretrained-1"] is None


def test_a_folder_that_is_moved_goes_on(
    pictures: Path,
    trained: Path,
    tmp_path: Path,
    fakes: Fakes,
) -> None:
    fakes.stop_in(
        "pretrained-1", pictures, out=tmp_path / "run", pretrained=str(trained), **LIMITS
    )
    (tmp_path / "run").rename(tmp_path / "moved")
    design(pictures, out=tmp_path / "moved", pretrained=str(trained), **LIMITS)
    moved = tmp_path / "moved" / "pretrained-1.safetensors"
    assert fakes.trained["pretrained-1"].weights == str(moved)

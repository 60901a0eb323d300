"""What the trainings of detectors and segmenters are asked."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_transfer_run import SETTINGS
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from asvit.networks import Network, WeightsFile
from experiments.transfer_settings import (
    TransferSettings,
    at_steps,
    call,
    falling,
    normalisation,
    options_of,
    pyramid_of,
)

AS_VIT = "8,4,2|4,4,2|2,1,2|2,1,2|16,16"


def test_settings_survive_json() -> None:
    stored = json.loads(json.dumps(SETTINGS.to_json()))
    assert TransferSettings.from_json(stored) == SETTINGS


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"image_size": 16}, "image_size must be at least 32"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0"),
        ({"drop_path": 1.0}, "drop_path must be a number at least 0 and below 1"),
        ({"clip": -1.0}, "clip must be"),
        ({"scale": (2.0, 1.0)}, r"scale must be two numbers, least first, got \(2.0, 1.0\)"),
        ({"data": ""}, "data must be a name"),
        ({"arch": ""}, "name an architecture"),
    ],
)
def test_values_out_of_range(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        replace(SETTINGS, **changes)  # type: ignore[arg-type]


@given(st.integers(0, 99), st.integers(0, 20))
def test_both_paces_rise_then_fall(step: int, warmup: int) -> None:
    for pace in (
        lambda s: falling(s, 100, warmup=warmup),
        lambda s: at_steps(s, 100, warmup=warmup, marks=(0.5, 0.75)),
    ):
        assert 0 < pace(step) <= 1
        if warmup <= step < 99:
            assert pace(step + 1) <= pace(step)


def test_paces_at_single_steps() -> None:
    assert [falling(s, 4, warmup=0) for s in range(4)] == [1, 0.75, 0.5, 0.25]
    marks = [at_steps(s, 4, warmup=1, marks=(0.5, 0.75)) for s in range(4)]
    assert marks == pytest.approx([0.5, 1, 0.1, 0.01])


def test_the_network_and_the_colours_come_from_the_weights(tmp_path: Path) -> None:
    network = Network(AS_VIT, image_size=32, num_classes=2)
    file = tmp_path / "weights.safetensors"
    facts = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    WeightsFile(network, network.build().state_dict(), facts=facts).write(file)
    settings = replace(SETTINGS, arch="", weights=str(file), image_size=64)
    assert pyramid_of(settings).channels == (16, 32, 64, 128)
    assert normalisation(settings) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    save_file(network.build().state_dict(), file)
    imagenet = (tuple(IMAGENET_DEFAULT_MEAN), tuple(IMAGENET_DEFAULT_STD))
    assert normalisation(settings) == normalisation(SETTINGS) == imagenet
    with pytest.raises(ValueError, match="name the architecture"):
        pyramid_of(settings)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("this is wrong\nand more"), 3, "error: this is wrong\n"),
        (FileNotFoundError("no file"), 3, "error: no file\n"),
        (ImportError("this needs a library"), 3, "error: this needs a library\n"),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on"),
        (None, 0, ""),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    error: BaseException | None,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(options: argparse.Namespace) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(sys, "argv", ["script"])
    assert call(argparse.ArgumentParser(), run) == code
    assert capsys.readouterr().err.startswith(said)


def test_a_line_gives_the_settings() -> None:
    defaults = {
        name: getattr(SETTINGS, name)
        for name in TransferSettings.__dataclass_fields__
        if name not in ("arch", "data", "weights", "norms")
    }
    made = options_of("what it does", "runs/x", **defaults)
    line = "none --data none --epochs 4 --scale 0.5 2 --no-norms"
    expected = replace(SETTINGS, epochs=4, scale=(0.5, 2.0))
    assert TransferSettings.of(made.parse_args(line.split())) == expected
    shown = made.format_help()
    assert "what it does" in shown
    assert "(default 0.05)" in shown

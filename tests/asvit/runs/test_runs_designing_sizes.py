"""Sizes of images and networks in a design, as its limits and its time allow."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asvit.designs import fitting
from asvit.designs.hours import SHARES
from asvit.measuring.latency import Latency
from asvit.runs.algorithms.design_plan import DesignPlan
from asvit.runs.designing import DESIGN, design
from asvit.spaces import cost, load_space
from tests.asvit.runs.designing_fakes import SPACE, Fakes, results_in


@pytest.fixture
def large(tmp_path: Path) -> Path:
    for number in range(10):
        path = tmp_path / "large" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (700, 500), (number, 0, 0)).save(path)
    return tmp_path / "large"


@pytest.mark.parametrize(
    ("limits", "epochs", "side"),
    [
        ({"max_macs": "140M"}, 100, 224),
        ({"max_macs": "60M"}, 100, 160),
        ({"max_macs": "60M"}, 300, 224),
        ({"max_macs": "20M"}, 100, 96),
        ({"max_macs": "20M"}, 300, 160),
        ({"max_macs": "1M"}, 300, 64),  # the smallest
        ({"max_macs": "10M", "image_size": 192}, 100, 192),
        # Smaller images do not allow a wider network.
        ({"max_macs": "140M", "max_params": "100K"}, 100, 224),
        ({"max_latency": "1ms"}, 100, 160),
    ],
)
def test_images_are_as_large_as_a_network_within_the_limits_can_see(
    limits: dict[str, Any],
    epochs: int,
    side: int,
    large: Path,
    tmp_path: Path,
    fakes: Fakes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def latency(_plan: DesignPlan, text: str, at: int) -> Latency:
        took = cost(text, at, 2).macs / 70e6
        return Latency(took, 0.1, 1.0, 10, 1.0, "fake", 1, "eager", 1, at)

    monkeypatch.setattr(DesignPlan, "latency", latency)
    monkeypatch.setattr(fitting, "enough_epochs", lambda _steps: epochs)
    result = design(large, space=SPACE, out=tmp_path / "run", **limits)
    assert result.image_size == side
    warnings = [line for line in caplog.messages if "images are seen at" in line]
    assert len(warnings) == (side < 224 and "image_size" not in limits)
    if warnings:
        assert f"at {side} px" in warnings[0]
        assert "--image-size 224 keeps them" in warnings[0]


def test_images_are_as_large_as_a_network_that_time_pays_for_can_see(
    large: Path, tmp_path: Path, fakes: Fakes
) -> None:
    sides = []
    for hours in (0.5, 10, 50, 500):
        folder = tmp_path / str(hours)
        result = design(large, max_params="9M", hours=hours, space=SPACE, out=folder)
        plan = results_in(folder).plan
        assert plan.image_size <= result.image_size
        for racer in result.last_round:
            pixels = result.image_size**2
            macs = cost(racer.architecture, result.image_size, 2).macs
            assert macs >= 0.8 * fitting.PER_PIXEL / 4 * pixels or result.image_size == 64
        sides.append(result.image_size)
    assert sides[0] == 64  # the smallest
    assert sides[-1] == 224
    assert sides == sorted(sides)
    assert len(set(sides)) > 2


def test_a_network_that_is_too_slow_is_made_narrower(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    result = design(pictures, max_params="150K", max_latency="0.9ms", space=SPACE, out=tmp_path)
    for model in (result, result.hand_made):
        assert model.latency_ms <= 0.9
    assert result.to_json()["limits"]["max_latency"] == {"value": result.latency_ms, "kept": True}
    slower = replace(result, latency_ms=0.91)
    assert not slower.to_json()["limits"]["max_latency"]["kept"]
    assert load_space("asvit").parse(result.architecture).width >= 6
    with pytest.raises(ValueError, match=r"takes 0\.\d+ ms, more than 95% of the 0\.05 ms"):
        design(pictures, max_latency="0.05ms", space=SPACE, out=tmp_path / "slow")
    assert fakes.calls.count("search") == 1  # the second was refused before


@pytest.mark.parametrize("milliseconds", [1.0, 4.0, 30.0])
def test_networks_are_as_wide_as_a_limit_of_latency_alone_allows(
    milliseconds: float, pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.slow = {"": 0.3}  # a pass takes as long at least
    run = DESIGN.make(
        data=str(pictures), max_latency=milliseconds, space=SPACE, image_size=64, out=tmp_path
    )
    result = run.run()
    assert f": at most {milliseconds:g} ms for 1 image(s)" in run.title
    for racer in result.last_round:
        assert 0.7 * milliseconds <= 0.1 * load_space(SPACE).parse(racer.architecture).width
    assert result.latency_ms <= 0.9 * milliseconds
    assert fakes.calls.count("latency") < 30


def test_networks_have_the_updates_that_pay_for_their_size(
    pictures: Path, tmp_path: Path, race: Fakes
) -> None:
    limits = {"max_params": "9M", "image_size": 64, "space": SPACE}
    widest = design(pictures, out=tmp_path / "widest", **limits)
    result = design(pictures, out=tmp_path / "timed", hours=0.5, **limits)
    assert widest.params > 8_000_000
    assert "too briefly" not in widest.outcome
    assert not any(racer.narrowed for racer in widest.race)
    assert "of 9,000,000 parameters (a larger one would be trained too briefly)" in result.outcome
    assert len(result.last_round) > 1
    for racer in result.last_round:
        assert racer.narrowed
        macs = cost(racer.architecture, 64, 2).macs
        time = 1_800 * SHARES["training"]
        updates = 10 * time / (macs / 1e6)  # as fakes.plan has it
        assert 0.9 * fitting._PAYING <= updates / macs <= 2 * fitting._PAYING
    assert results_in(tmp_path / "widest").plan.max_macs is None
    (by_hand,) = [racer for racer in result.last_round if racer.by_hand]
    searched = results_in(tmp_path / "timed").plan.max_macs  # networks as wide as in the end
    assert searched == pytest.approx(cost(by_hand.architecture, 64, 2).macs, rel=0.2)
    assert {*race.calls} >= {"finalist-1", "finalist-2"}

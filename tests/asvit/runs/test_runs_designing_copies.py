"""Copies of the network of a design: which are left out, and what is said of them."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asvit.designs.hours import Hours
from asvit.runs.algorithms import design_copies
from asvit.runs.designing import DESIGN, design
from tests.asvit.runs.designing_fakes import SPACE, Fakes


@pytest.mark.parametrize("kept", [True, False])
def test_a_copy_in_8_bits_that_loses_too_much_is_left_out_and_said(
    kept: bool, pictures: Path, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(**options: Any) -> object:
        exported = fakes.export(**options)
        if not options.get("int8"):
            return exported
        assert options["with_preprocessing"]
        if not kept:
            raise ValueError("int8 changes it by -4.0 points")
        return SimpleNamespace(
            **vars(exported), quantisation=SimpleNamespace(in_words="-0.5 points [-2.0, +1.0]")
        )

    monkeypatch.setattr(design_copies, "export_network", export)
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path, int8=True)
    assert ("model-int8.onnx" in result.exports) is kept
    words = "-0.5 points [-2.0, +1.0]" if kept else "left out: int8 changes it by -4.0 points"
    assert result.int8 == words
    assert f"int8: {words}" in [str(part) for part in DESIGN.summary(result)]
    assert len(result.exports) == 3 + kept


@pytest.mark.parametrize(
    "error",
    [
        ImportError("the format onnx needs onnx"),
        ValueError("the copy is not equal: on 1 image(s)"),
        ChildProcessError("the copy cannot be loaded and run: there is no such kernel"),
    ],
)
def test_a_copy_without_its_libraries_or_that_differs_or_does_not_load_is_left_out_and_named(
    error: Exception,
    pictures: Path,
    tmp_path: Path,
    fakes: Fakes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def export(**options: Any) -> object:
        if options["to"] == "onnx":
            raise error
        return fakes.export(**options)

    monkeypatch.setattr(design_copies, "export_network", export)
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path)
    assert [*result.exports] == ["model.safetensors", "timm"]
    assert f"there is no model.onnx: {error}" in caplog.text


def test_a_late_design_writes_the_weights_alone_and_says_how_to_write_the_others(
    pictures: Path,
    tmp_path: Path,
    race: Fakes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def remaining(hours: Hours) -> float:
        return -60.0 if "test training" in race.calls else hours.whole - hours.elapsed()

    race.validation = {"finalist-1": 90.0}
    monkeypatch.setattr(Hours, "remaining", property(remaining))
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path, hours=30.0, int8=True)
    assert [*result.exports] == ["model.safetensors"]
    assert result.int8 == "left out: the hours are over; asvit export writes it"
    assert "there is no model.onnx: the hours are over; asvit export writes it" in caplog.text
    assert math.isfinite(result.latency_ms)
    assert result.hand_made is not None
    assert math.isnan(result.hand_made.latency_ms)
    assert result.hand_made.architecture != result.architecture
    assert '"latency_ms": null' in (tmp_path / "result.json").read_text()

"""Searches and scalings tell how far their measures can be trusted."""

from pathlib import Path
from typing import Any

import pytest

from asvit.reference.query import stored_reliability
from asvit.runs.scaling import run_scaling
from asvit.runs.search import run_search
from asvit.search import Measurement
from tests.asvit.runs import fakes

MEASURES = ("length_distortion", "ntk_condition_number")
SETTINGS: dict[str, Any] = {
    "data": "gaussian", "image_size": 32, "images": 2, "repeats": 1, "points": 3,
}  # fmt: skip


def test_scores_that_come_with_a_table_judge_the_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.fake_scaling(monkeypatch.setattr)
    given: dict[str, Any] = {"architecture": fakes.SEED, "budget": "2M", **SETTINGS}
    first = run_scaling(out=tmp_path / "run", **given)
    assert first.reliability == stored_reliability("asvit-sizes", MEASURES)
    assert run_scaling(out=tmp_path / "run", **given).to_json() == first.to_json()


def test_values_of_a_function_are_not_judged(tmp_path: Path) -> None:
    def evaluate(text: str) -> Measurement:
        values = dict.fromkeys(MEASURES, float(len(set(text))))
        return Measurement(params=1, macs=1, values=values, reasons={})

    found = run_search(
        space="asvit-tiny", steps=3, evaluate=evaluate, out=tmp_path / "run", **SETTINGS
    )
    assert found.reliability is None

"""A result.json of any content is shown by its report, or refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from asvit.reference.result import CorrelationResult
from asvit.report import correlate, evolution, scale, search
from asvit.report.evolution import read_evolution_run
from asvit.report.run import read_run
from asvit.report.scale import read_scaling
from experiments.sample_runs import MEASURES, write_sample
from tests.hostile import FIXED, changed_json, refused_or

PAGES: dict[str, Callable[[Path], str]] = {
    "search": lambda folder: search.page(read_run(folder), []),
    "scale": lambda folder: scale.page(read_scaling(folder), []),
    "correlate": lambda folder: correlate.page(CorrelationResult.read(folder / "result.json"), []),
    "evolution": lambda folder: evolution.page(read_evolution_run(folder), []),
}


@pytest.fixture(scope="module", params=PAGES)
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of each kind, called as the kind."""
    return write_sample(request.param, tmp_path_factory.mktemp("sample") / request.param)


@FIXED
@given(data=st.data())
def test_a_page_is_made_or_refused(sample: Path, data: DataObject) -> None:
    result = sample / "result.json"
    right = result.read_text(encoding="utf-8")
    changed = data.draw(changed_json(json.loads(right)))
    try:
        result.write_text(json.dumps(changed), encoding="utf-8")
        page = refused_or(lambda: PAGES[sample.name](sample))
    finally:
        result.write_text(right, encoding="utf-8")
    assert page is None or page.startswith("<!DOCTYPE html>")


def test_a_right_one_is_shown(sample: Path) -> None:
    assert PAGES[sample.name](sample).startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"params": None}, "params may not be None"),
        ({"entropy": {"first": 1.0}}, "it has no 'last'"),
        ({"values": {"length_distortion": 1.0}}, "it has no 'ntk_condition_number'"),
        ({"values": dict.fromkeys(MEASURES, "<b>")}, "values.length_distortion may not be"),
        ({"images": []}, "images may not be"),
        ({"command": 5}, "command may not be 5"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    folder = write_sample("search", tmp_path / "run")
    right = json.loads((folder / "result.json").read_text())

    def refused(content: dict[str, object], words: str) -> None:
        (folder / "result.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=words) as caught:
            read_run(folder)
        assert "\n" not in str(caught.value)

    refused(right | change, words)
    for name in ("tau_interval", "difference_interval"):
        content = json.loads(json.dumps(right))
        content["reliability"]["measures"][0][name] = [1.0]
        refused(content, f"{name} may not be")
    del right["steps"]
    refused(right, "has no 'steps'")

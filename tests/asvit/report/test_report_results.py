"""A result.json of any content is shown by its report, or refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from asvit.report import correlate, evolution, scale, search
from asvit.report.correlate_run import read_correlation_run
from asvit.report.evolution import read_evolution_run
from asvit.report.results import OfSearch, check_result
from asvit.report.run import read_run
from asvit.report.scale import read_scaling
from experiments.sample_runs import write_sample
from tests.hostile import FIXED, changed_json, refused_or

PAGES: dict[str, Callable[[Path], str]] = {
    "search": lambda folder: search.page(read_run(folder), []),
    "scale": lambda folder: scale.page(read_scaling(folder), []),
    "correlate": lambda folder: correlate.page(read_correlation_run(folder), []),
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
        ({"entropy": {"first": 1.0}}, "entropy may not be"),
        ({"values": {"length_distortion": "<b>"}}, "values may not be"),
        ({"images": []}, "images may not be"),
        ({"command": 5}, "command may not be 5"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    folder = write_sample("search", tmp_path / "run")
    content = json.loads((folder / "result.json").read_text())
    with pytest.raises(ValueError, match=words):
        check_result(content | change, OfSearch, folder / "result.json")
    for name in ("tau_interval", "difference_interval"):
        content["reliability"]["measures"][0][name] = [1.0]
        with pytest.raises(ValueError, match=f"{name} may not be"):
            check_result(content, OfSearch, folder / "result.json")
        content["reliability"]["measures"][0][name] = [1.0, 2.0]
    del content["steps"]
    with pytest.raises(ValueError, match="has no 'steps'"):
        check_result(content, OfSearch, folder / "result.json")

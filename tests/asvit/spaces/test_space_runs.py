"""Searches and scalings of the ShiftViT and PSViT spaces; scalings stopped and continued."""

import pytest

import asvit
from asvit.runs import lifecycle
from asvit.runs.scaling import run_scaling
from asvit.spaces import load_space
from tests.asvit.runs.fakes import stop_at

pytestmark = pytest.mark.usefixtures("quick_figures")

SETTINGS = {"image_size": 32, "repeats": 1, "images": 3, "points": 3, "data": "gaussian"}
ARCHITECTURE = "shift:1,1,2,1|2|8|1|16"
CELLS = "bs----|b-----|------"
PSVIT = {"count_size": 32, "ratio": 0.5, "budget": "90K"}
# Space -> an architecture of it, and the settings of a scaling.
SCALINGS = {
    "shiftvit": (ARCHITECTURE, {"budget": "300K,600K"}),
    "psvit1d": (f"psvit1d:{CELLS}|12", PSVIT),
    "psvit2d": (f"psvit2d:{CELLS}|12", PSVIT),
}


@pytest.fixture(autouse=True)
def _without_reports(monkeypatch, request):
    if "command" not in request.node.name:
        monkeypatch.setattr(lifecycle, "write_report", lambda *_: None)


@pytest.mark.parametrize(
    "space",
    [
        "psvit1d",
        *(pytest.param(name, marks=pytest.mark.nightly) for name in ("shiftvit", "psvit2d")),
    ],
)
def test_a_stopped_scaling_ends_as_one_that_was_not(space, tmp_path):
    text, own = SCALINGS[space]
    settings = {**SETTINGS, "architecture": text, **own}
    whole = run_scaling(out=tmp_path / "whole", **settings)
    for events in (1, 7):
        with pytest.raises(KeyboardInterrupt):
            run_scaling(out=tmp_path / "stopped", progress=stop_at(events), **settings)
    assert run_scaling(out=tmp_path / "stopped", **settings).series == whole.series
    for name in ("steps.csv", "candidates.csv"):
        tables = [(tmp_path / folder / name).read_bytes() for folder in ("whole", "stopped")]
        assert tables[0] == tables[1]
    assert whole.series[0].architecture == text
    seed = load_space(space).parse(text)
    for row in whole.series:
        grown = load_space(space).parse(row.architecture)
        assert (tuple(grown.depths), grown.width) == (tuple(row.depths), row.width)
        assert grown.with_(depths=seed.depths, width=seed.width) == seed
        assert asvit.cost(row.architecture, settings.get("count_size", 224)).params == row.params
    most = float(settings["budget"].split(",")[-1].removesuffix("K")) * 1e3
    assert 0.9 * most <= whole.series[-1].params <= most
    assert len(whole.series) > 2
    assert sum(grown.depths) > sum(seed.depths) or grown.width > seed.width

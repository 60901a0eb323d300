import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asvit.core.run_files import MARKER
from asvit.growth.result import ScaleResult
from asvit.measuring.latency import Latency
from asvit.runs.scaling import SCALE, run_scaling
from asvit.search.result import SearchResult
from asvit.spaces import cost
from scaling import Budget
from tests.asvit.runs import fakes
from tests.asvit.runs.fakes import SEED
from tests.asvit.runs.stored_results import content_of

SETTINGS = {
    "budget": "2M,8M", "data": "gaussian", "image_size": 32,
    "images": 2, "repeats": 1, "points": 3,
}  # fmt: skip

DESIGN_KEYS = {"schema_version", "budget", "steps", "settings", "wall_seconds"}
STEP_KEYS = {
    "architecture", "depths", "width", "params", "macs", "length_distortion",
    "ntk_condition_number", "candidates",
}  # fmt: skip


def scale(out: Path | None = None, **settings: Any) -> ScaleResult:
    return run_scaling(**{"architecture": SEED, "out": out, **SETTINGS, **settings})


@pytest.fixture(autouse=True)
def _faked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        fakes.fake_scaling(monkeypatch.setattr)


def make_search(folder: Path, seed: str, space: str = "asvit") -> None:
    folder.mkdir(parents=True)
    (folder / MARKER).write_text("search\n")
    right = content_of(SearchResult)
    changed = {"seed_architecture": seed, "settings": {**right["settings"], "space": space}}
    (folder / "result.json").write_bytes(json.dumps({**right, **changed}).encode())


def test_a_run_folder_holds_the_series(tmp_path: Path) -> None:
    result = scale(tmp_path / "run")
    content = json.loads(
        (tmp_path / "run" / "result.json").read_text(), parse_constant=pytest.fail
    )
    assert content.keys() >= DESIGN_KEYS
    assert (content["kind"], content["budget"], content["reached"]) == ("scale", "8M", True)
    assert all(step.keys() >= STEP_KEYS for step in content["steps"])
    start, *steps = content["steps"]
    assert (start["kind"], start["candidates"]) == ("start", [])
    assert start["architecture"] == SEED
    assert all(len([c for c in s["candidates"] if c["chosen"]]) == 1 for s in steps)
    assert all(s["architecture"] in [c["architecture"] for c in s["candidates"]] for s in steps)
    sizes = [step["params"] for step in content["steps"]]
    assert sizes == sorted(set(sizes))
    assert 0.98 * 8e6 <= sizes[-1] <= 8e6
    assert result.reached
    assert len((tmp_path / "run" / "steps.csv").read_text().splitlines()) == len(sizes) + 1


def test_the_nearest_model_of_each_budget_is_named(tmp_path: Path) -> None:
    result = scale(tmp_path)
    (small, first), (large, last) = result.nearest()
    assert (small, large) == (Budget.parse("2M"), Budget.parse("8M"))
    assert last == result.series[-1]
    assert all(abs(row.params - 2e6) >= abs(first.params - 2e6) for row in result.series)


def test_multiply_adds_are_a_budget_too(tmp_path: Path) -> None:
    result = scale(tmp_path, budget="0.8G")
    assert 0.98 * 8e8 <= result.series[-1].macs <= 8e8


def test_the_newest_search_is_the_start_and_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="run asvit search first"):
        scale(architecture=None)
    make_search(Path("runs/one"), SEED)
    result = scale(architecture=None)
    assert result.series[0].architecture == SEED
    assert result.provenance["seed_run"] == "runs/one"
    assert scale(Path("other")).provenance["seed_run"] is None


def test_the_real_measures_of_a_real_series(tmp_path: Path) -> None:
    result = scale(tmp_path, budget="2M", stop_within=0.5, architecture=SEED)
    for row in result.series:
        assert (row.params, row.macs) == (
            cost(row.architecture).params,
            cost(row.architecture).macs,
        )
        assert row.measured_width == row.width // 4
        assert all(value > 0 for value in row.values.values())
    assert (tmp_path / "report.html").stat().st_size > 10_000
    files = {f"{name}.svg" for name in SCALE.files.figures}
    assert files <= {path.name for path in tmp_path.iterdir()}


TINY = "4,2,2|4,1,2|4,1,2|4,1,2|16"
REAL = {**SETTINGS, "architecture": TINY, "count_size": 32, "classes": 3, "device": "cpu"}


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is timed; a network takes as many milliseconds as it has millions of multiply-adds."""
    found: list[str] = []

    def latency(text: str, image_size: int, batch: int, runtime: str, **more: Any) -> Latency:
        found.append(text)
        took = cost(text, image_size, more["num_classes"], in_chans=more["in_chans"]).macs / 1e6
        return Latency(took, 0.1, 1.0, 10, 1.0, "fake", 1, runtime, batch, image_size)

    monkeypatch.setattr("asvit.runs.algorithms.measuring.latency", latency)
    monkeypatch.setattr(
        "asvit.runs.algorithms.measuring.fresh_latency",
        lambda *given, **more: replace(latency(*given, **more), busy=1.5, milliseconds=6.5),
    )
    return found


def test_real_growth_to_a_time_takes_each_time_once(tmp_path: Path, timed: list[str]) -> None:
    asked = {**REAL, "budget": "5ms,6ms", "latency_batch": 4}
    whole = run_scaling(out=tmp_path / "whole", **asked)
    assert whole.reached
    assert 0.98 * 5.7 <= whole.series[-1].latency <= 5.7  # times vary
    assert (whole.latency.batch, whole.latency.milliseconds) == (4, 6.5)
    told = [str(line) for line in SCALE.summary(whole)]
    assert any("it takes 6.5 ms, more than the 6 ms allowed" in line for line in told)
    assert any("the machine was busy: a network" in line for line in told)
    assert timed.pop() == whole.series[-1].architecture  # again
    assert len(timed) == len(set(timed)) >= len(whole.candidates)
    assert [str(budget) for budget, _ in whole.nearest()] == ["5ms", "6ms"]
    assert ScaleResult.read(tmp_path / "whole" / "result.json").latency == whole.latency
    # The larger budget goes on from what the smaller one has timed.
    timed.clear()
    small = run_scaling(out=tmp_path / "run", **{**asked, "budget": "5ms"})
    before = set(timed)
    timed.pop()
    found = run_scaling(out=tmp_path / "run", **asked)
    timed.pop()
    assert small.series[-1].latency <= 4.75
    assert len(timed) == len(set(timed))
    assert before <= set(timed)
    assert [row.architecture for row in found.series] == [row.architecture for row in whole.series]
    report = (tmp_path / "whole" / "report.html").read_text()
    assert "6ms" in report

"""Searches and scalings that ask a reference table how far their measures can be trusted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asvit.core.codec import to_json
from asvit.growth.result import ScaleResult
from asvit.reference import ReferenceTable, load_reference
from asvit.reference.stored import stored_reliability
from asvit.runs.algorithms.correlation import reliability
from asvit.runs.correlation import run_correlation
from asvit.runs.scaling import run_scaling
from asvit.runs.search import run_search
from asvit.search import Measurement
from asvit.search.result import SearchResult
from tests.asvit.runs import fakes
from tests.asvit.runs.fakes import ARCHITECTURES, SEED, FakePool, write_table

MEASURES = ("length_distortion", "ntk_condition_number")
SETTINGS: dict[str, Any] = {
    "data": "gaussian", "image_size": 32, "images": 2, "repeats": 1, "points": 3,
}  # fmt: skip

Result = SearchResult | ScaleResult
Start = Callable[..., Result]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ReferenceTable:
    path = write_table(tmp_path_factory.mktemp("table") / "mine.csv")
    return load_reference(path, check=False)


@pytest.fixture(autouse=True)
def _scaling_without_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.fake_scaling(monkeypatch.setattr)


def search(**settings: Any) -> SearchResult:
    def evaluate(text: str) -> Measurement:
        values = dict.fromkeys(MEASURES, float(len(set(text))))
        return Measurement(params=1, macs=1, values=values, reasons={})

    given = {"space": "asvit-tiny", "steps": 3, "evaluate": evaluate, **SETTINGS}
    return run_search(**{**given, **settings})


def scale(**settings: Any) -> ScaleResult:
    given = {"architecture": SEED, "budget": "2M", **SETTINGS}
    return run_scaling(**{**given, **settings})


@pytest.fixture(params=[search, scale], ids=["search", "scale"])
def start(request: pytest.FixtureRequest) -> Start:
    chosen: Start = request.param
    return chosen


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


def test_a_run_is_the_same_with_and_without(
    start: Start, table: ReferenceTable, tmp_path: Path, measured: list[Any]
) -> None:
    without = start(out=tmp_path / "without")
    judged = start(out=tmp_path / "with", reference=table)
    assert len(measured) == len(ARCHITECTURES)
    assert tables(tmp_path / "without") == tables(tmp_path / "with")
    before, after = without.to_json(), judged.to_json()
    assert after.keys() == {*before, "reliability"}
    assert before["settings"] == after["settings"]


def test_by_default_scores_that_come_with_a_table_judge_the_measures(
    table: ReferenceTable, tmp_path: Path, measured: list[Any]
) -> None:
    first = scale(out=tmp_path / "run")
    assert first.reliability == stored_reliability("asvit-sizes", MEASURES)
    again = scale(out=tmp_path / "run")
    assert again.to_json() == first.to_json()
    told = scale(out=tmp_path / "run", reference=table).to_json()
    assert told["reliability"]["reference"] == "mine"
    # Once a table was named, its word stays.
    assert scale(out=tmp_path / "run").to_json() == told
    assert len(measured) == len(ARCHITECTURES)


def test_values_of_a_function_are_not_judged(tmp_path: Path) -> None:
    assert search(out=tmp_path).reliability is None


def test_what_is_told_is_what_the_table_says_of_the_run_s_own_measures(
    start: Start, table: ReferenceTable, tmp_path: Path, measured: list[Any]
) -> None:
    judged = start(out=tmp_path / "run", reference=table)
    told = json.loads((tmp_path / "run" / "result.json").read_text())["reliability"]
    assert told == judged.to_json()["reliability"]
    assert (told["reference"], told["digest"], told["target"]) == ("mine", table.digest, "top1")
    both = "+".join(MEASURES)
    assert [one["measure"] for one in told["measures"]] == [*MEASURES, both]
    inside = tmp_path / "run" / told["folder"]
    alone = run_correlation(
        table, proxies=[*MEASURES, both], out=tmp_path / "alone", **{**SETTINGS, "image_size": 32}
    )
    assert (inside / "values.csv").read_bytes() == (tmp_path / "alone/values.csv").read_bytes()
    for one in told["measures"]:
        found = to_json(alone.finding(one["measure"]))
        assert one == found
    assert told["best_count"]["measure"] == found["rival"]
    assert type(judged).read(tmp_path / "run" / "result.json").to_json() == judged.to_json()


def test_a_finished_run_asked_later_only_measures_the_table(
    start: Start, table: ReferenceTable, tmp_path: Path, measured: list[Any]
) -> None:
    first = start(out=tmp_path / "run")
    assert measured == []

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing of the run itself may be measured again")

    again: dict[str, Any] = {"evaluate": never} if start is search else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakePool, "one", never)
        judged = start(out=tmp_path / "run", reference=table, **again)
        assert len(measured) == len(ARCHITECTURES)
        changed = {**judged.to_json()}
        del changed["reliability"]
        before = first.to_json()
        before.pop("reliability", None)
        assert changed == before
        # Once more, with and without the table: nothing is measured, nothing is lost.
        kept = (tmp_path / "run" / "result.json").stat().st_mtime_ns
        for reference in ({"reference": table}, {}):
            assert start(out=tmp_path / "run", **reference, **again).to_json() == judged.to_json()
        assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == kept
    assert len(measured) == len(ARCHITECTURES)


def test_a_measure_that_is_only_reported_takes_no_part_in_the_sum(
    table: ReferenceTable, tmp_path: Path, measured: list[Any]
) -> None:
    from asvit.search import SearchSettings

    settings = SearchSettings.make(
        proxies=("extrinsic_curvature", "length_distortion"), **SETTINGS
    )
    found = reliability(tmp_path, table, settings)
    assert [one.measure for one in found.measures] == list(settings.proxies)
    assert len(measured) == len(ARCHITECTURES)

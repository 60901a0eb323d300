"""Run folders of correlations: what they hold, what continues them and what they refuse."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import kendalltau

import asvit
from asvit.core.results import stored_content
from asvit.reference import ReferenceTable, load_reference
from asvit.reference.query import resolve
from asvit.reference.result import CorrelationResult
from asvit.runs.algorithms import correlation as algorithm
from asvit.runs.correlation import run_correlation
from asvit.runs.measurement_pool import MeasurementJob
from proxies.registry import standard_measures
from tests.asvit.runs import fakes
from tests.asvit.runs.fakes import ARCHITECTURES, FAILING, write_table

SETTINGS = {"data": "gaussian", "images": 2, "points": 3}

COUNTS = resolve([])
TWO = ("length_distortion", "ntk_condition_number")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ReferenceTable:
    return load_reference(write_table(tmp_path_factory.mktemp("table") / "mine.csv"))


@pytest.fixture(autouse=True)
def _faked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        fakes.fake_correlation(monkeypatch.setattr)


def correlate(
    table: ReferenceTable | str, out: Path | None = None, proxies: Any = TWO, **settings: Any
) -> CorrelationResult:
    return run_correlation(table, out=out, proxies=proxies, **{**SETTINGS, **settings})


def test_workers_have_to_know_a_network_of_each_space_and_every_measure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [*ARCHITECTURES[:2], "shift:1,1,2,1|2|8|1|16"]
    jobs = [MeasurementJob(text, ("ab"[at % 2],), text, 32) for at, text in enumerate(texts)]
    load = algorithm._workload(jobs)
    assert load.architectures == tuple(texts[1:])
    assert load.names == ("a", "b")


def test_a_run_folder_holds_the_answer(table: ReferenceTable, tmp_path: Path) -> None:
    result = correlate(table, tmp_path / "run")
    told = stored_content(tmp_path / "run" / "result.json")
    assert told == result.to_json()
    assert (told["kind"], told["reference"]) == ("correlation", "mine")
    assert told["table"] == {"source": "mine", "digest": table.digest}
    assert (told["rows"], told["excluded"]) == (len(ARCHITECTURES), {})
    assert told["targets"][0]["noise_ceiling"] == 0.9
    assert {one["measure"] for one in told["correlations"][: len(COUNTS)]} == set(COUNTS)
    assert {one["measure"] for one in told["correlations"]} == {*COUNTS, *TWO}
    assert told["images"].keys() == {"32"}
    with (tmp_path / "run" / "values.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["architecture"] for row in rows] == ARCHITECTURES
    assert [row["reason"] for row in rows if row["reason"]] == [
        "ntk_condition_number: repeat 1 of 2: the kernel is singular"
    ]
    with (tmp_path / "run" / "correlations.csv").open() as file:
        assert {row["target"] for row in csv.DictReader(file)} == {"top1"}


def test_the_correlations_are_those_of_the_values(table: ReferenceTable, tmp_path: Path) -> None:
    result = correlate(table, tmp_path)
    values, accuracies = result.values.measures, result.values.accuracies["top1"]
    assert accuracies == table.accuracies["top1"]
    higher, lower = (result.finding(name) for name in TWO)
    assert higher.tau == pytest.approx(kendalltau(values[TWO[0]], accuracies).statistic)
    kept = [place for place, text in enumerate(ARCHITECTURES) if text != FAILING]
    expected = kendalltau([-values[TWO[1]][i] for i in kept], [accuracies[i] for i in kept])
    assert lower.tau == pytest.approx(expected.statistic)
    assert (lower.n, lower.dropped) == (len(kept), 1)
    assert (higher.n, higher.dropped) == (len(ARCHITECTURES), 0)
    rival = result.finding(higher.rival)
    assert higher.difference == pytest.approx(higher.tau - rival.tau)
    with pytest.raises(KeyError, match="nothing was asked of 'snip'"):
        result.finding("snip")


def test_one_more_measure_is_all_that_is_measured(
    table: ReferenceTable, tmp_path: Path, measured: list[Any]
) -> None:
    correlate(table, tmp_path)
    measured.clear()
    result = correlate(table, tmp_path, (*TWO, "snip"))
    assert measured == [(text, ("snip",)) for text in ARCHITECTURES]
    whole = correlate(table, tmp_path / "other", (*TWO, "snip"))
    assert result.to_json()["correlations"] == whole.to_json()["correlations"]
    assert (tmp_path / "values.csv").read_bytes() == (tmp_path / "other/values.csv").read_bytes()


def test_all_is_every_registered_measure(table: ReferenceTable, tmp_path: Path) -> None:
    result = correlate(table, tmp_path, "all")
    assert {one.measure for one in result.correlations} == set(standard_measures())
    taus = [one.tau for one in result.correlations]
    assert [one.trivial for one in result.correlations] == [True] * len(COUNTS) + [False] * (
        len(standard_measures()) - len(COUNTS)
    )
    for block in (taus[: len(COUNTS)], taus[len(COUNTS) :]):
        assert block == sorted(block, reverse=True)


def test_a_combination_is_the_sum_of_the_ranks(table: ReferenceTable, tmp_path: Path) -> None:
    name = "+".join(TWO)
    result = correlate(table, tmp_path, name)
    assert {one.measure for one in result.correlations} == {*COUNTS, name}
    values = result.values.measures
    length, kappa = (values[measure] for measure in TWO)
    places = [place for place, text in enumerate(ARCHITECTURES) if text != FAILING]
    expected = [
        sum(length[other] <= length[place] for other in places)
        + sum(kappa[other] >= kappa[place] for other in places)
        for place in places
    ]
    assert [values[name][place] for place in places] == expected
    assert math.isnan(values[name][ARCHITECTURES.index(FAILING)])


def test_large_rows_can_be_left_out(table: ReferenceTable, tmp_path: Path) -> None:
    assert table.params is not None
    limit = sorted(table.params)[-2]
    result = correlate(table, tmp_path, max_params=f"{limit}")
    assert result.rows == len(ARCHITECTURES) - 1
    assert list(result.excluded.values()) == [1]
    assert "parameters" in next(iter(result.excluded))
    with pytest.raises(ValueError, match=r"0 of 7 rows of table mine are left \(7 above 1K param"):
        correlate(table, tmp_path, max_params="1K")


def test_another_table_is_refused(table: ReferenceTable, tmp_path: Path) -> None:
    correlate(table, tmp_path / "run")
    edited = load_reference(write_table(tmp_path / "mine.csv", change=1.0), check=False)
    message = rf"table mine, digest {table.digest[:12]} \(now mine, digest"
    with pytest.raises(ValueError, match=message):
        correlate(edited, tmp_path / "run")


def test_real_networks_are_measured_as_score_does(table: ReferenceTable, tmp_path: Path) -> None:
    from asvit.data import load_images
    from proxies import measure

    result = run_correlation(
        table, out=tmp_path, proxies=TWO, preset="quick", images=2, points=3, data="gaussian"
    )
    assert result.values.measures["params"] == tuple(map(float, table.params or ()))
    text = ARCHITECTURES[2]
    images = load_images("gaussian", count=2, image_size=32, seed=0)
    expected = measure(
        lambda: asvit.build(text, 32, 10),
        TWO,
        key=text,
        repeats=1,
        image_size=32,
        images=images.pixels,
        points=3,
    )
    for name in TWO:
        assert result.values.measures[name][2] == expected[name].value
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "scatter-params.svg").exists()

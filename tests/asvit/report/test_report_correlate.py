"""Reports of correlations; how far to trust the measures of a run."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from asvit.core.codec import from_json
from asvit.core.summary import Table
from asvit.reference.findings import Reliability
from asvit.reference.result import CorrelationResult
from asvit.runs.correlation import CORRELATE
from asvit.runs.reporting import write_report_in as write_report
from asvit.runs.shared import rank_table
from tests.asvit.report.sample_runs import write_sample
from tests.asvit.runs import stored_results

BOTH = "length_distortion+ntk_condition_number"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_sample("correlate", tmp_path_factory.mktemp("report") / "run")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def result(finished: Path) -> CorrelationResult:
    return CorrelationResult.read(finished / "result.json")


def test_each_target_has_its_findings_and_says_how_it_was_trained(
    result: CorrelationResult,
) -> None:
    parts = list(CORRELATE.summary(result))
    first, second = (
        "timm-in1k, top1: ImageNet-1k validation accuracy; trained from scratch; "
        "noise ceiling 0.870",
        "timm-in1k, cifar100: CIFAR-100 test accuracy; how the networks were trained is not known",
    )
    titles = [part.title for part in parts if isinstance(part, Table)]
    assert titles == [f"{first}; at the same size", first, f"{second}; at the same size", second]
    lines = "\n".join(part for part in parts if isinstance(part, str))
    assert "The best count is params with tau" in lines
    assert "zico: 2 row(s) have both" in lines
    assert "1 with a failed measure" in lines


def test_the_files_beside_the_page(finished: Path) -> None:
    measures = ("params", "macs", "length_distortion", "ntk_condition_number", "zico")
    names = {"tau", *(f"scatter-{name}" for name in (*measures, BOTH.replace("+", "-")))}
    assert {path.stem for path in finished.glob("*.svg")} == names
    assert {path.stem for path in finished.glob("*.csv")} == names | {"values"}
    with (finished / "scatter-ntk_condition_number.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * 59  # one value is missing
    with (finished / "tau.csv").open() as file:
        taus = list(csv.DictReader(file))
    assert [row["target"] for row in taus] == ["top1"] * 6 + ["cifar100"] * 6
    for block in (taus[:6], taus[6:]):
        assert block[-1]["tau"] == "nan"
        shown = [float(row["tau"]) for row in block[:-1]]
        assert shown == sorted(shown, reverse=True)


def test_architectures_without_a_value_have_their_reason(result: CorrelationResult) -> None:
    failed, values = CORRELATE.details(result)
    ((name, reason),) = failed.rows
    assert name == result.values.architectures[7]
    assert "the kernel is singular" in reason
    assert len(values.rows) == 60
    calm = replace(result, values=replace(result.values, reasons=("",) * 60))
    assert [table.title for table in CORRELATE.details(calm)] == ["Values"]


# How far the measures can be trusted, in the summaries of searches and scalings

FOUND = {**stored_results.TOLD, "measure": "length_distortion", "tau": 0.60312}
FAILED = {
    **{**FOUND, "measure": BOTH, "tau": None, "tau_interval": [None, None]},
    "reason": "3 row(s) only",
}
RANKED = {
    **{**stored_results.RELIABILITY, "measures": [FOUND, FAILED]},
    "best_count": {**FOUND, "measure": "params"},
}


def test_how_far_to_trust_the_measures_of_a_run() -> None:
    assert list(rank_table(None)) == []
    table, reason, sentence, line = rank_table(from_json(RANKED, Reliability))
    assert table.title == "How the measures rank mine, top1; noise ceiling 0.900"
    assert [row[0] for row in table.rows] == ["length_distortion", BOTH, "params"]
    assert str(table.rows[0][3]).startswith("0.603 [")
    assert reason == f"{BOTH}: 3 row(s) only"
    assert sentence == f"{BOTH} does not rank these architectures."
    assert line == (
        "of nine; 9 architectures, the last row is the best count; stored scores (on one core)"
    )

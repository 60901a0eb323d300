"""Reports of correlations; how far to trust the measures of a run."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from asvit.core.codec import from_json
from asvit.core.results import stored_content
from asvit.core.summary import Table
from asvit.reference.findings import Reliability
from asvit.reference.result import CorrelationResult
from asvit.report import correlate as draw
from asvit.report.style import style
from asvit.runs.correlation import CorrelationRun
from asvit.runs.measuring_run import rank_table
from asvit.runs.run import write_report
from tests.asvit.report.sample_runs import write_sample
from tests.asvit.runs import stored_results
from tests.hostile import sealed_result

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
    parts = list(CorrelationRun.summary(result))
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


def test_a_scatter_has_tau_and_interval_in_its_title(
    finished: Path, result: CorrelationResult
) -> None:
    found = result.finding("length_distortion").correlation
    low, high = found.tau_interval
    text = (finished / "scatter-length_distortion.svg").read_text(encoding="utf-8")
    assert f"top1: τ {found.tau:.2f} [{low:.2f}, {high:.2f}]" in text
    assert "2 row(s) have both" in (finished / "scatter-zico.svg").read_text(encoding="utf-8")


def test_architectures_without_a_value_have_their_reason(result: CorrelationResult) -> None:
    failed, values = CorrelationRun.details(result)
    ((name, reason),) = failed.rows
    assert name == result.values.architectures[7]
    assert "the kernel is singular" in reason
    assert len(values.rows) == 60
    calm = replace(result, values=replace(result.values, reasons=("",) * 60))
    assert [table.title for table in CorrelationRun.details(calm)] == ["Values"]


@pytest.mark.parametrize(("name", "key"), [("zico", "measure"), ("top1", "target")])
def test_a_result_of_other_values_is_refused(tmp_path: Path, name: str, key: str) -> None:
    folder = write_sample("correlate", tmp_path / "run")
    content = json.dumps(stored_content(folder / "result.json"))
    changed = json.loads(content.replace(f'"{key}": "{name}"', f'"{key}": "b\\ud800"'))
    (folder / "result.json").write_bytes(sealed_result(changed))
    with pytest.raises(ValueError, match=r"values\.csv has no column 'b\\ud800', as result"):
        write_report(folder)


@pytest.mark.parametrize("measure", ["../zico", "/tmp/zico", "a/b", 'zico"><b>', "x" * 5000])
def test_no_name_of_a_measure_leads_out_of_the_folder(tmp_path: Path, measure: str) -> None:
    folder = write_sample("correlate", tmp_path / "run")
    result, values = folder / "result.json", folder / "values.csv"
    content = json.dumps(stored_content(result)).replace('"zico"', json.dumps(measure))
    result.write_bytes(sealed_result(json.loads(content)))
    cell = measure.replace('"', '""')
    values.write_text(values.read_text().replace("zico", f'"{cell}"'))
    figures = CorrelationRun.pictures(CorrelationResult.read(result))
    assert {(folder / f"{figure.name}.svg").parent for figure in figures} == {folder}


def test_a_known_ceiling_is_a_line_in_its_own_panel(result: CorrelationResult) -> None:
    with style("test"):
        figure = draw.draw_taus(draw.tau_rows(result.correlations), ceilings={"top1": 0.87})
    first, second = figure.axes
    positions = [[line.get_xdata()[0] for line in axes.lines] for axes in (first, second)]
    assert positions == [[0, 0.87], [0]]
    # Five measures have a bar, the sixth only its name.
    assert len(first.patches) == 5
    assert len(first.get_yticklabels()) == 6


def test_values_over_decades_are_shown_on_a_logarithmic_axis() -> None:
    wide = [draw.PairRow("top1", "x", value, 50.0) for value in (1.0, 10.0, 1000.0)]
    near = [draw.PairRow("top1", "x", value, 50.0) for value in (1.0, 2.0, 3.0)]
    with style("test"):
        scales = [
            draw.draw_pairs(found, "params", {"top1": ""}).axes[0].get_xscale()
            for found in (wide, near)
        ]
    assert scales == ["log", "linear"]


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
    assert line.startswith("of nine; 9 architectures, the last row is the best count; measured as")
    assert line.endswith("all of it is in correlate-mine-12")


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ([0.1, 0.9], "in about 80 % of pairs (55 to 95)."),
        ([-0.1, 0.9], "in about 80 % of pairs (45 to 95), not shown to be better than chance."),
    ],
)
def test_tau_is_told_as_a_share_of_pairs(interval: list[float], words: str) -> None:
    stored = {**RANKED, "measures": [{**FOUND, "tau": 0.6, "tau_interval": interval}]}
    _, sentence, line = rank_table(from_json({**stored, "scores": "32 px"}, Reliability))
    assert sentence.endswith(words)
    assert "stored scores (32 px); --reference mine measures the table as the run does" in line


def test_without_a_count_or_a_ceiling_there_is_no_word_of_them() -> None:
    found = from_json({**RANKED, "best_count": None, "noise_ceiling": None}, Reliability)
    table, *lines = rank_table(found)
    assert "ceiling" not in table.title
    assert not any("best count" in line for line in lines)

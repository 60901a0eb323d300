"""The report of a correlation's run folder: tables, figures, failures, names with markup."""

import csv
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from asvit.core.codec import from_json
from asvit.core.results import stored_content
from asvit.core.summary import Table
from asvit.reference.findings import Finding, Reliability, in_order
from asvit.reference.result import CorrelationResult, Values
from asvit.reference.settings import CorrelationQuery, CorrelationSettings
from asvit.reference.statistics import correlate
from asvit.reference.table import Target
from asvit.report import correlate as draw
from asvit.report.style import style
from asvit.runs.correlation import CorrelationRun
from asvit.runs.folder import MARKER
from asvit.runs.measuring_run import rank_table
from asvit.runs.run import write_report
from tests.asvit.runs import stored_results
from tests.hostile import sealed_result

NAN = math.nan
NAMES = [f"net <{place}>" for place in range(8)]
PARAMS = (1e6, 3e6, 2e6, 4e6, 5e6, 7e6, 6e6, 8e6)
LENGTH = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 7.0)
KAPPA = (9.0, NAN, 7.0, 6.0, 5.0, 4.0, 3.0, 20.0)
FEW = (1.0, NAN, NAN, NAN, NAN, NAN, NAN, 2.0)
BOTH = "length_distortion+ntk_condition_number"
MEASURES = {
    "params": PARAMS,
    "length_distortion": LENGTH,
    "ntk_condition_number": KAPPA,
    BOTH: (2.0, NAN, 5.0, 7.0, 9.0, 11.0, 14.0, 8.0),
    "zico": FEW,
}
TARGETS = (
    Target("top1", "ImageNet <b>val</b>", "scratch", 0.87),
    Target("other", "something else", "unknown"),
)
ACCURACIES = {
    "top1": (50.0, 52.0, 51.0, 54.0, 55.0, 53.0, 57.0, 58.0),
    "other": (10.0, 11.0, NAN, 14.0, 13.0, 12.0, 15.0, 16.0),
}
REASONS = ("", "ntk_condition_number: it is <singular>", *[""] * 6)


def finding(measure: str, target: str) -> Finding:
    better: Any = "lower" if measure == "ntk_condition_number" else "higher"
    found = correlate(
        MEASURES[measure],
        ACCURACIES[target],
        better=better,
        counts={"params": PARAMS},
        samples=100,
    )
    return Finding(measure, target, better, measure == "params", found)


def make_run(folder: Path, measures: tuple[str, ...] = tuple(MEASURES), targets: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shown = TARGETS[:targets]
    found = in_order([finding(name, target.name) for target in shown for name in measures])
    result = {
        "schema_version": 1, "kind": "correlation", "reference": "mine", "digest": "a" * 64,
        "targets": [asdict(target) for target in shown], "rows": 8,
        "excluded": {"above 100M parameters": 3}, "wall_seconds": 1563.2,
        "correlations": [one.to_json() for one in found],
        "settings": CorrelationSettings(repeats=2, seed=7).to_json(),
        "question": CorrelationQuery().to_json(),
        "images": {"32": {"source": "frac <tal>", "digest": "b" * 64}}, "device": "cpu",
        "versions": {"torch": "2.15.0"}, "command": "asvit correlate --reference 'my <b>.csv'",
    }  # fmt: skip
    values = Values(
        tuple(NAMES),
        (32,) * 7 + (64,),
        {target.name: ACCURACIES[target.name] for target in shown},
        {name: MEASURES[name] for name in measures},
        REASONS,
    )
    (folder / MARKER).write_text("correlation")
    (folder / "result.json").write_bytes(sealed_result(result))
    (folder / "values.csv").write_text(values.to_csv())
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("report") / "run")
    write_report(folder)
    return folder


def test_each_target_has_its_findings_and_says_how_it_was_trained(finished: Path) -> None:
    result = CorrelationResult.read(finished / "result.json")
    parts = list(CorrelationRun.summary(result))
    titles = [part.title for part in parts if isinstance(part, Table)]
    assert titles == [
        "mine, top1: ImageNet <b>val</b>; trained from scratch; noise ceiling 0.870"
        "; at the same size",
        "mine, top1: ImageNet <b>val</b>; trained from scratch; noise ceiling 0.870",
        "mine, other: something else; how the networks were trained is not known"
        "; at the same size",
        "mine, other: something else; how the networks were trained is not known",
    ]
    lines = "\n".join(part for part in parts if isinstance(part, str))
    assert "The best count is params with tau" in lines
    assert "zico: 2 row(s) have both" in lines
    assert "8 architectures of mine; 3 above 100M parameters; 1 with a failed measure" in lines


def test_the_files_beside_the_page(finished: Path) -> None:
    names = {
        "tau", "scatter-params", "scatter-length_distortion", "scatter-ntk_condition_number",
        "scatter-length_distortion-ntk_condition_number", "scatter-zico",
    }  # fmt: skip
    assert {path.stem for path in finished.glob("*.svg")} == names
    assert {path.stem for path in finished.glob("*.csv")} == names | {"values"}
    with (finished / "scatter-ntk_condition_number.csv").open() as file:
        pairs = list(csv.DictReader(file))
    assert len(pairs) == 7 + 6  # one value and one accuracy are missing
    with (finished / "tau.csv").open() as file:
        taus = list(csv.DictReader(file))
    assert [row["target"] for row in taus] == ["top1"] * 5 + ["other"] * 5
    for block in (taus[:5], taus[5:]):
        assert block[-1]["tau"] == "nan"
        shown = [float(row["tau"]) for row in block[:-1]]
        assert shown == sorted(shown, reverse=True)


def test_a_scatter_has_tau_and_interval_in_its_title(finished: Path) -> None:
    found = finding("length_distortion", "top1").correlation
    low, high = found.tau_interval.low, found.tau_interval.high
    text = (finished / "scatter-length_distortion.svg").read_text(encoding="utf-8")
    assert f"top1: τ {found.tau:.2f} [{low:.2f}, {high:.2f}]" in text
    assert "2 row(s) have both" in (finished / "scatter-zico.svg").read_text(encoding="utf-8")


def test_architectures_without_a_value_have_their_reason(finished: Path) -> None:
    result = CorrelationResult.read(finished / "result.json")
    failed, values = CorrelationRun.details(result)
    assert failed.rows == [("net <1>", "ntk_condition_number: it is <singular>")]
    assert len(values.rows) == 8
    calm = replace(result, values=replace(result.values, reasons=("",) * 8))
    assert [table.title for table in CorrelationRun.details(calm)] == ["Values"]


@pytest.mark.parametrize(("name", "key"), [("zico", "measure"), ("top1", "target")])
def test_a_result_of_other_values_is_refused(tmp_path: Path, name: str, key: str) -> None:
    folder = make_run(tmp_path / "run")
    content = json.dumps(stored_content(folder / "result.json"))
    changed = json.loads(content.replace(f'"{key}": "{name}"', f'"{key}": "b\\ud800"'))
    (folder / "result.json").write_bytes(sealed_result(changed))
    with pytest.raises(ValueError, match=r"values\.csv has no column 'b\\ud800', as result"):
        write_report(folder)


@pytest.mark.parametrize("measure", ["../zico", "a/b", 'zico"><b>', "x" * 5000])
def test_no_name_of_a_measure_leads_out_of_the_folder(tmp_path: Path, measure: str) -> None:
    folder = make_run(tmp_path / "run", ("params", "zico"), 1)
    result, values = folder / "result.json", folder / "values.csv"
    content = json.dumps(stored_content(result)).replace("zico", json.dumps(measure)[1:-1])
    result.write_bytes(sealed_result(json.loads(content)))
    cell = measure.replace('"', '""')
    values.write_text(values.read_text().replace("zico", f'"{cell}"'))
    written = write_report(folder)
    assert {path.parent for path in written} == {folder}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_known_ceiling_is_a_line_in_its_own_panel() -> None:
    found = draw.tau_rows([finding(m, t.name) for t in TARGETS for m in MEASURES])
    with style("test"):
        made = draw.draw_taus(found, ceilings={"top1": 0.87})
    first, second = made.axes
    positions = [[line.get_xdata()[0] for line in axes.lines] for axes in (first, second)]
    assert positions == [[0, 0.87], [0]]
    # Four measures have a bar, the fifth only its name.
    assert len(first.patches) == 4
    assert len(first.get_yticklabels()) == 5


def test_values_over_decades_are_shown_on_a_logarithmic_axis() -> None:
    wide = [draw.PairRow("top1", "x", value, 50.0) for value in (1.0, 10.0, 1000.0)]
    near = [draw.PairRow("top1", "x", value, 50.0) for value in (1.0, 2.0, 3.0)]
    with style("test"):
        scales = [
            draw.draw_pairs(found, "params", {"top1": ""}).axes[0].get_xscale()
            for found in (wide, near)
        ]
    assert scales == ["log", "linear"]


# How far the measures can be trusted, in the reports of searches and scalings

FOUND = {**stored_results.TOLD, "measure": "length_distortion", "tau": 0.60312}
FAILED = {
    **{**FOUND, "measure": BOTH, "tau": None, "tau_interval": [None, None]},
    "reason": "3 row(s) <only>",
}
TOLD = {
    **{**stored_results.RELIABILITY, "reference": "my <table>", "description": "made <up>"},
    **{"best_count": {**FOUND, "measure": "params"}, "measures": [FOUND, FAILED]},
}


def test_how_far_to_trust_the_measures_of_a_run() -> None:
    assert list(rank_table(None)) == []
    table, reason, line = rank_table(from_json(TOLD, Reliability))
    assert table.title == "How the measures rank my <table>, top1; noise ceiling 0.900"
    assert [row[0] for row in table.rows] == ["length_distortion", BOTH, "params"]
    assert str(table.rows[0][3]).startswith("0.603 [")
    assert reason == f"{BOTH}: 3 row(s) <only>"
    assert line.startswith("made <up>; 9 architectures, measured as the run measured")
    assert line.endswith("all of it is in correlate-mine-12")


def test_without_a_count_or_a_ceiling_there_is_no_word_of_them() -> None:
    found = from_json({**TOLD, "best_count": None, "noise_ceiling": None}, Reliability)
    table, *lines = rank_table(found)
    assert "ceiling" not in table.title
    assert not any("best count" in line for line in lines)

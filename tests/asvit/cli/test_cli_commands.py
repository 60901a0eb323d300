"""The commands on small settings: what they write where, and how they end."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from asvit.runs import scoring
from proxies import Score
from tests.asvit.cli.commands import check_refused, run, strict

pytestmark = pytest.mark.usefixtures("quick_figures")

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
SMALL = ["--image-size", "32", "--repeats", "1", "--images", "4", "--points", "4"]
SMALL += ["--data", "gaussian"]


# search


# score


def test_score_gives_every_measure(tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    result = run("score", SEED, *SMALL, "--json", "--out", out)
    assert result.exit_code == 0, result.stderr
    data = strict(result.stdout)
    assert strict(out.read_text()) == data
    assert set(data) == {"schema_version", "settings", "architectures"}
    assert data["schema_version"] == 1
    (found,) = data["architectures"]
    assert found["architecture"] == SEED
    assert {"length_distortion", "ntk_condition_number", "params", "macs"} <= set(found["scores"])
    for score in found["scores"].values():
        assert set(score) == {"value", "std", "values", "better", "reason"}
    assert found["scores"]["params"]["value"] == 2_319_624
    assert data["settings"]["image_size"] == 32


def test_score_says_why_a_measure_failed(monkeypatch) -> None:
    failed = Score(math.nan, math.nan, (math.nan,), "lower", "the [bold]kernel[/] is odd")
    monkeypatch.setattr(scoring, "measure", lambda *_, **__: {"ntk_condition_number": failed})
    shown = run("score", SEED, *SMALL, "--proxy", "ntk_condition_number")
    assert shown.exit_code == 0
    assert "the [bold]kernel[/] is odd" in shown.stdout
    words = "--proxy", "ntk_condition_number", "--json"
    data = strict(run("score", SEED, *SMALL, *words).stdout)
    score = data["architectures"][0]["scores"]["ntk_condition_number"]
    assert score["value"] is None
    assert score["reason"]


# cost


def test_cost_of_ours_is_by_stage_and_adds_up() -> None:
    result = run("cost", SEED, "--json")
    whole = strict(result.stdout)
    assert set(whole) == {"schema_version", "architectures"}
    assert whole["schema_version"] == 1
    (data,) = whole["architectures"]
    assert data["params"] == 2_319_624 == sum(part["params"] for part in data["parts"])
    assert data["macs"] == sum(part["macs"] for part in data["parts"])
    assert [part["stage"] for part in data["parts"]] == ["1", "2", "3", "4", "head"]
    assert data["image_size"] == 224


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (["--batch", "2"], 2, "--batch says how to time; give --latency, too"),
        (["--latency", "--batch", "0"], 2, "0 is not in the range"),
        (["--latency", "--runtime", "onxx"], 2, "unknown runtime 'onxx'; did you mean 'onnx'?"),
        (["--latency", "--device", "cuda:99"], 3, "device 'cuda:99' is not available"),
        (["--latency", "--device", "meta"], 3, "device 'meta' computes nothing"),
    ],
)
def test_cost_refuses_what_cannot_be_timed(given: list[str], code: int, words: str) -> None:
    check_refused(run("cost", SEED, "--image-size", "32", *given), code, words)


# a run in the place of an architecture


@pytest.mark.parametrize("kind", ["search", "scale", "train", "supernet evolve"])
def test_a_run_stands_for_what_it_ended_in(kind: str, finished: Any) -> None:
    folder, done = finished(kind)
    data = strict(done.stdout)
    text = data["seed_architecture" if kind == "search" else "architecture"]
    for named in (folder, folder / "result.json"):
        found = strict(run("cost", named, "--image-size", "32", "--json").stdout)
        assert [one["architecture"] for one in found["architectures"]] == [text]
    scored = strict(run("score", folder, *SMALL, "--proxy", "params", "--json").stdout)
    assert [one["architecture"] for one in scored["architectures"]] == [text]


# list


@pytest.mark.parametrize(
    ("kind", "name", "keys"),
    [
        ("proxies", "length_distortion", {"name", "better", "description", "paper"}),
        ("spaces", "asvit", {"name", "size", "description", "paper"}),
        ("controllers", "reinforce", {"name", "description", "paper"}),
        ("models", "timm:asvit_large", {"name"}),
        ("presets", "quick", {"name", "command", "settings"}),
        ("data", "fractal", {"name", "description"}),
        ("references", "vitbench101-pit", {"name", "description"}),
        ("devices", "cpu", {"name", "description", "runtimes"}),
    ],
)
def test_list(kind: str, name: str, keys: set[str]) -> None:
    rows = strict(run("list", kind, "--json").stdout)
    assert name in [row["name"] for row in rows]
    assert all(set(row) == keys for row in rows)
    assert name in run("list", kind).stdout


# report


def test_report_without_a_run_takes_the_newest(tmp_path, finished) -> None:
    empty = run("report")
    assert (empty.exit_code, empty.stderr.count("\n")) == (3, 1)
    shutil.copytree(finished("search")[0], tmp_path / "runs" / "mine")
    assert run("report").stdout.strip() == str(Path("runs/mine/report.html"))

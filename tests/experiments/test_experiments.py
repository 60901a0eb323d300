"""Scripts run, at their smallest."""

import math
import re
from pathlib import Path

import pytest
from run_script import Script, read_rows

from experiments import (
    bench_cost_estimate,
    bench_loader,
    bench_models,
    bench_proxies,
    bench_repeats,
    bench_shift,
    compare_controllers,
    compare_heads,
)

TINY_SEARCH = {
    **{"space": "asvit-tiny", "data": "gaussian", "image_size": 32},
    **{"images": 2, "points": 3, "steps": 3, "repeats": 1},
}


def test_bench_prints_ratios_and_speed_ups(script: Script) -> None:
    words = "--topologies 1 --slow 1 --image-size 64 --runs 1 --images 3 --points 4"
    printed = script(bench_proxies.main, words)
    assert "64 px, 4 points, 3 images" in printed
    assert len(re.findall(r"\d+\.\d\dx\)", printed)) == 2
    assert "definitions: L^E" in printed
    assert "mean of ratios over 1 topologies" in printed


def test_controllers_are_compared_at_equal_draws(script: Script) -> None:
    table = script(compare_controllers.main, "--seeds 1 --steps 4 --window 2")
    rows = read_rows("runs/compare/controllers.csv")
    assert [row["controller"] for row in rows] == ["reinforce", "random"]
    assert min(float(row["best_rank"]) for row in rows) == 0
    assert all(0 <= float(row["outcome_rank"]) <= 1 for row in rows)
    assert math.isnan(float(rows[1]["last_entropy"]))
    assert Path("runs/compare/controllers.svg").stat().st_size > 1000
    assert "| reinforce | 0 |" in table
    assert "| random | 0 |" in table


def test_heads_are_compared_in_a_table_and_figures(script: Script) -> None:
    printed = script(compare_heads.main, "--out heads --seeds 1 --steps 2")
    assert "hallucinated" in printed
    rows = read_rows("heads/heads.csv")
    assert [row["parts"] for row in rows] == list(compare_heads.PARTS)
    assert all(0 < float(row["ccs_trained"]) <= 1 for row in rows)
    assert len(list(Path("heads").glob("head-similarity-*.svg"))) == 3


@pytest.mark.filterwarnings(
    # timm leaves the files of its pictures to the garbage collector.
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
def test_loaders_are_timed_with_their_ratio(script: Script) -> None:
    printed = script(bench_loader.main, "--images 8 --image-size 32 --batch 4 --epochs 1")
    assert len(re.findall(r"^ +0 +\d+\.\d\d +\d+\.\d\d$", printed, re.MULTILINE)) == 1
    assert re.search(r"^ratio \d\.\d{3}$", printed, re.MULTILINE)


def test_a_model_has_a_cost_and_both_ratios(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    deit = "deit_tiny_patch16_224"
    given = ((deit, deit, {"ffn": "compact"}, True), ("resnet18", "resnet18"))
    monkeypatch.setattr(bench_models, "ENTRIES", [bench_models.Entry(*each) for each in given])
    printed = script(bench_models.main, "--batch 1 --runs 1 --only deit")
    _, heading, row = printed.splitlines()
    assert heading.split() == ["model", "baseline", "MACs", "inference", "training"]
    assert row.startswith("deit_tiny_patch16_224 + compact (channels last)")
    macs, inference, training = map(float, row.split()[-3:])
    # Merged: 4/3 C^2 of about 14 C^2 a token and block go (4 C^2 become 8/3 C^2).
    assert macs == pytest.approx(0.91, abs=0.01)
    assert inference > 0
    assert training > 0


def test_every_way_to_shift_is_timed_in_either_format(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    printed = script(bench_shift.main, "--batch 1 --runs 1").splitlines()
    for way in bench_shift.WAYS:
        lines = [line for line in printed if line.startswith(way)]
        assert len(lines) == 2
        assert all(line.count("|") == 4 for line in lines)
    formats = [line.split(":")[0] for line in printed if "forward |" in line]
    assert formats == ["contiguous_format", "channels_last"]
    monkeypatch.setitem(bench_shift.WAYS, "wrong", lambda x: x.roll(1, 3))
    with pytest.raises(RuntimeError, match="wrong gives other numbers"):
        script(bench_shift.main, "--batch 1 --runs 1")


def test_a_search_is_estimated_and_run(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    runs = dict.fromkeys(("tiny", "left out"), TINY_SEARCH)
    monkeypatch.setattr(bench_cost_estimate, "RUNS", runs)
    assert "| tiny |" in script(bench_cost_estimate.main, "--only tiny")
    made = bench_cost_estimate.Row("one", 6.0, 5.0, 7.0, 9.5, 4.0, 10, 4.5)
    assert bench_cost_estimate.table([made]).splitlines()[2] == (
        "| one | 6.0 | 5.0 to 7.0 | 4.0 | +50% | 10, 10 | 4.5 |"
    )
    (row,) = read_rows("runs/cost-estimates/estimates.csv")
    assert row["name"] == "tiny"
    assert 1 <= int(row["measured_architectures"]) <= 3
    assert 0 < float(row["low"]) <= float(row["seconds"]) <= float(row["high"])
    assert 0 < float(row["measured_seconds"]) < float(row["all_seconds"])


def test_repeats_have_times_and_operations(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    entries = [
        bench_repeats.Entry(*of) for of in (("5,2,2|3,1,2|2,1,2|2,1,3|16", 32), ("resnet10t", 64))
    ]
    monkeypatch.setattr(bench_repeats, "ENTRIES", entries)
    line = "--repeats 3 --images 2 --points 3 --runs 1 --device cpu --only 32"
    _, _, *rows = script(bench_repeats.main, line).splitlines()
    for row, measure in zip(rows, ("L^E", "kernel"), strict=True):
        label, *cells = row.removeprefix(entries[0].label).split()
        assert label == measure
        apart, together, gain, one_by_one, at_once, fewer = map(float, cells)
        assert min(apart, together) > 0
        assert gain == pytest.approx(apart / together, rel=0.02)
        # Three networks at once take fewer operations than two of them one by one.
        assert at_once < one_by_one * 2 / 3
        assert fewer == pytest.approx(one_by_one / at_once, abs=0.01)

"""The scripts that the docs name run, at their smallest."""

import csv
import math
import re
import sys
from pathlib import Path

import pytest

from experiments import bench_proxies, compare_controllers


def test_bench_prints_ratios_and_speed_ups(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "bench --topologies 1 --slow 1 --image-size 64 --runs 1 --images 3 --points 4"
    monkeypatch.setattr(sys, "argv", words.split())
    bench_proxies.main()
    printed = capsys.readouterr().out
    assert "64 px, 4 points, 3 images" in printed
    assert len(re.findall(r"\d+\.\d\dx\)", printed)) == 2
    assert "definitions: L^E" in printed
    assert "mean of ratios over 1 topologies" in printed


def test_controllers_are_compared_at_equal_draws(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "compare --seeds 1 --steps 4 --window 2"
    monkeypatch.setattr(sys, "argv", words.split())
    compare_controllers.main()
    with Path("runs/compare/controllers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["controller"] for row in rows] == ["reinforce", "random"]
    assert min(float(row["best_rank"]) for row in rows) == 0
    assert all(0 <= float(row["outcome_rank"]) <= 1 for row in rows)
    assert math.isnan(float(rows[1]["last_entropy"]))
    assert Path("runs/compare/controllers.svg").stat().st_size > 1000
    table = capsys.readouterr().out
    assert "| reinforce | 0 |" in table
    assert "| random | 0 |" in table

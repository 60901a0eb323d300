"""The scripts that the docs name run, at their smallest."""

import math
import re
from pathlib import Path

from run_script import Script, read_rows

from experiments import bench_proxies, compare_controllers


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

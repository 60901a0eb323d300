"""The script that measures how the cost of a candidate grows."""

from pathlib import Path

import pytest
from run_script import Script, read_rows

from experiments import bench_cost_growth
from experiments.bench_cost_growth import AXES, Case, Row, table


def quadratic(value: int) -> Row:
    return Row("image_size", value, 1.0, 2.0, float(value**2), 3.0, 5.0)


def test_the_table_ends_every_group_in_its_exponents() -> None:
    lines = table([quadratic(64), quadratic(128)]).splitlines()
    assert lines[2].startswith("| image size in pixels | 64 | 4096.000 | 2.000 | 3.000 | 5.000 |")
    assert lines[-1] == "|  | exponent | 2.00 | 0.00 | 0.00 | 0.00 |  |  |"


def test_the_script_writes_a_row_a_case_and_a_figure(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    monkeypatch.setattr(
        bench_cost_growth, "AXES", {name: ((4, 8), about) for name, (_, about) in AXES.items()}
    )
    small = {"image_size": 32, "width": 8, "images": 2, "points": 3}
    monkeypatch.setattr(bench_cost_growth, "Case", lambda **given: Case(**{**small, **given}))
    line = "--base 32 --runs 1 --device cpu --only width,images,points,repeats"
    assert "exponent" in script(bench_cost_growth.main, line)
    rows = read_rows("runs/cost-growth/cost-growth.csv")
    assert [(row["changed"], row["value"]) for row in rows] == [
        (name, value) for name in ("width", "images", "points", "repeats") for value in "48"
    ]
    assert all(float(row["candidate"]) > 0 for row in rows)
    assert Path("runs/cost-growth/cost-growth.svg").stat().st_size > 1000

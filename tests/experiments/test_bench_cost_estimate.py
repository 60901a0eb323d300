"""The script that holds estimates of searches against real ones."""

import pytest
from run_script import Script, read_rows

from experiments import bench_cost_estimate
from experiments.bench_cost_estimate import Row, table

TINY = {"space": "asvit-tiny", "image_size": 32, "images": 2, "points": 3, "data": "gaussian"}


def test_the_error_is_a_share_of_what_it_took() -> None:
    row = Row("one", 6.0, 5.0, 7.0, 9.5, 4.0, 10, 4.5)
    assert row.error == pytest.approx(0.5)
    assert table([row]).splitlines()[2] == (
        "| one | 6.0 | 5.0 to 7.0 | 4.0 | +50% | 10, 10 | 4.5 |"
    )


def test_a_search_is_estimated_and_run(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    run = {**TINY, "steps": 3, "repeats": 1}
    monkeypatch.setattr(bench_cost_estimate, "RUNS", {"tiny": run, "left out": run})
    assert "| tiny |" in script(bench_cost_estimate.main, "--only tiny")
    (row,) = read_rows("runs/cost-estimates/estimates.csv")
    assert row["name"] == "tiny"
    assert 1 <= int(row["measured_architectures"]) <= 3
    assert 0 < float(row["low"]) <= float(row["seconds"]) <= float(row["high"])
    assert 0 < float(row["measured_seconds"]) < float(row["all_seconds"])

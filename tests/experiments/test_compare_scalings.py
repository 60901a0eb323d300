"""The experiments on scaling run, at their smallest."""

from pathlib import Path

import pytest
from run_script import Script, read_rows

from experiments import compare_published, compare_scalings
from experiments.growing import markdown
from scaling import Budget

SMALL = (
    "--image-size 32 --repeats 1 --images 2 --points 3 --data gaussian --seeds 1 "
    "--arch 4,8,2|2,4,2|2,2,2|2,1,2|16"
)


def test_manual_scalings_are_compared_at_equal_budgets(script: Script) -> None:
    line = f"{SMALL} --budgets 1.4M,1.6M --random 1 --most-blocks 16"
    assert "| 1.6M | growth | 0 |" in script(compare_scalings.main, line)
    first = Path("runs/compare-scalings/scalings.csv").read_bytes()
    rows = read_rows("runs/compare-scalings/scalings.csv")
    assert {row["rule"] for row in rows} == set(compare_scalings.COLOURS)
    for row in rows:
        assert int(row["params"]) <= Budget.parse(row["budget"]).amount
        assert float(row["length_distortion"]) > 0
    assert Path("runs/compare-scalings/scalings.svg").stat().st_size > 1000
    script(compare_scalings.main, line)  # reuses the measurements
    assert Path("runs/compare-scalings/scalings.csv").read_bytes() == first


def test_the_published_family_is_compared_at_equal_size(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    small = {
        "Small": "4,8,2|2,4,2|2,2,2|2,1,2|16,36",
        "Base": "4,8,2|2,4,2|2,2,2|2,1,2|16,40",
        "Large": "4,8,2,2|2,4,2,1|2,2,2,1|2,1,2,1|16,44",
    }
    monkeypatch.setattr(compare_published, "PUBLISHED", small)
    printed = script(compare_published.main, SMALL)
    rows = read_rows("runs/compare-published/published.csv")
    assert [(row["size"], row["source"]) for row in rows] == [
        (size, source) for size in small for source in ("published", "grown")
    ]
    for theirs, ours in zip(rows[::2], rows[1::2], strict=True):
        assert int(ours["params"]) <= int(theirs["params"])
    assert "| Large | published | 0 |  | 2,1,1,1 | 44 |" in printed
    assert " of 1 | " in printed


def test_bars_in_a_cell_do_not_end_it() -> None:
    assert (
        markdown({"a": "l", "b": "r"}, [("x|y", 1)]) == "| a | b |\n| --- | --: |\n| x\\|y | 1 |"
    )

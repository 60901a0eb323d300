"""The experiments on scaling run, at their smallest."""

import csv
import sys
from pathlib import Path

import pytest

from experiments import compare_published, compare_scalings
from experiments.growing import markdown
from scaling import Budget

SMALL = (
    "--image-size 32 --repeats 1 --images 2 --points 3 --data gaussian --seeds 1 "
    "--arch 4,8,2|2,4,2|2,2,2|2,1,2|16"
)


def rows_of(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def test_hand_made_scalings_are_compared_at_equal_budgets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"compare {SMALL} --budgets 1.4M,1.6M --random 1 --most-blocks 16"
    monkeypatch.setattr(sys, "argv", words.split())
    compare_scalings.main()
    first = Path("runs/compare-scalings/scalings.csv").read_bytes()
    rows = rows_of("runs/compare-scalings/scalings.csv")
    assert {row["rule"] for row in rows} == set(compare_scalings.COLOURS)
    for row in rows:
        assert int(row["params"]) <= Budget.parse(row["budget"]).amount
        assert float(row["length_distortion"]) > 0
    assert Path("runs/compare-scalings/scalings.svg").stat().st_size > 1000
    assert "| 1.6M | growth | 0 |" in capsys.readouterr().out
    # Given again, it goes on from what was measured.
    compare_scalings.main()
    assert Path("runs/compare-scalings/scalings.csv").read_bytes() == first


def test_the_published_family_is_compared_at_equal_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {
        "Small": "4,8,2|2,4,2|2,2,2|2,1,2|16,36",
        "Base": "4,8,2|2,4,2|2,2,2|2,1,2|16,40",
        "Large": "4,8,2,2|2,4,2,1|2,2,2,1|2,1,2,1|16,44",
    }
    monkeypatch.setattr(compare_published, "PUBLISHED", small)
    monkeypatch.setattr(sys, "argv", f"compare {SMALL}".split())
    compare_published.main()
    rows = rows_of("runs/compare-published/published.csv")
    assert [(row["size"], row["source"]) for row in rows] == [
        (size, source) for size in small for source in ("published", "grown")
    ]
    for theirs, ours in zip(rows[::2], rows[1::2], strict=True):
        assert int(ours["params"]) <= int(theirs["params"])
    printed = capsys.readouterr().out
    assert "| Large | published | 0 |  | 2,1,1,1 | 44 |" in printed
    assert " of 1 | " in printed


def test_bars_in_a_cell_do_not_end_it() -> None:
    assert (
        markdown({"a": "l", "b": "r"}, [("x|y", 1)]) == "| a | b |\n| --- | --: |\n| x\\|y | 1 |"
    )

"""The comparison of heads runs, at its smallest."""

from pathlib import Path

from run_script import Script, read_rows

from experiments import compare_heads


def test_table_and_figures(script: Script) -> None:
    printed = script(compare_heads.main, "--out heads --seeds 1 --steps 2")
    assert "hallucinated" in printed
    rows = read_rows("heads/heads.csv")
    assert [row["parts"] for row in rows] == list(compare_heads.PARTS)
    assert all(0 < float(row["ccs_trained"]) <= 1 for row in rows)
    assert len(list(Path("heads").glob("head-similarity-*.svg"))) == 3

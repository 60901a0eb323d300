"""The comparison of heads runs, at its smallest."""

import csv
import sys

from experiments import compare_heads


def test_table_and_figures(monkeypatch, tmp_path, capsys):
    words = ["compare", "--out", str(tmp_path), "--seeds", "1", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", words)
    compare_heads.main()
    with (tmp_path / "heads.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["parts"] for row in rows] == list(compare_heads.PARTS)
    assert all(0 < float(row["ccs_trained"]) <= 1 for row in rows)
    assert len(list(tmp_path.glob("head-similarity-*.svg"))) == 3
    assert "hallucinated" in capsys.readouterr().out

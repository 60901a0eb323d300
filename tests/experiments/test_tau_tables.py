"""The tables of docs/evidence.md, on a table of tiny networks."""

import sys
from pathlib import Path

import pytest

from experiments import study_measures, tau_table
from proxies import PROXIES

ROWS = """\
# num_classes: 5
# image_size: 32
# target: first | made up | scratch
# target: second | made up | distilled
architecture,first,second
"4,4,2|2,2,2|2,1,2|2,1,2|16,8",50,10
"5,4,3|2,2,2|2,1,2|2,1,2|16,8",51,11
"6,4,2|3,2,2|2,1,2|2,1,2|16,8",52,12
"7,4,2|2,2,4|3,1,2|2,1,2|16,8",53,13
"8,4,2|2,2,2|2,1,5|4,1,2|16,8",54,14
"8,4,4|3,2,2|4,1,5|4,1,2|16,8",55,15
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASVIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


def run(main: object, monkeypatch: pytest.MonkeyPatch, *args: str) -> None:
    monkeypatch.setattr(sys, "argv", ["experiment", *args])
    assert callable(main)
    main()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_every_measure_and_target(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--reference", str(table), "--preset", "quick", "--proxy", "naswot,params+naswot"]
    run(tau_table.main, monkeypatch, *args)
    first = capsys.readouterr().out
    lines = [cells(line) for line in first.splitlines() if line.startswith("|")]
    assert lines[0] == ["measure", "first", "second"]
    names = [line[0] for line in lines[2:]]
    assert set(names[:5]) == {"params", "macs", "depth", "width", "expansions"}
    assert set(names[5:]) == {"naswot", "params + naswot"}
    assert {line[0]: line[1] for line in lines[2:]}["depth"] == "-"  # the same for all
    assert "6 rows; best counts: " in first
    run(tau_table.main, monkeypatch, *args)  # measures nothing, and says the same
    assert [line for line in first.splitlines() if "|" in line] == [
        line for line in capsys.readouterr().out.splitlines() if "|" in line
    ]


def test_a_study_has_a_row_for_every_variant(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(study_measures.main, monkeypatch, "--reference", str(table), "--repeats", "1")
    lines = [cells(x) for x in capsys.readouterr().out.splitlines() if x.startswith("|")]
    assert lines[0] == ["", "τ, first", "minus best count, first"]  # from scratch only
    labels = [line[0] for line in lines[2:]]
    assert len(labels) == len(set(labels))
    assert {variant.label for variant in study_measures.VARIANTS} < set(labels)
    for label in ("parameters", "L^E, all tokens", "κ, mean of logarithms", "L^E, radius 1"):
        assert label in labels
    assert study_measures.TOKENS.name not in PROXIES  # nothing is left behind

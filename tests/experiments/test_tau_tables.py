"""The tables of docs/evidence.md, on a table of tiny networks."""

from pathlib import Path

import pytest
from run_script import Script

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


@pytest.fixture(autouse=True)
def _table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASVIT_CACHE", str(tmp_path / "cache"))
    Path("tiny.csv").write_text(ROWS, encoding="utf-8")


def cells(printed: str) -> list[list[str]]:
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_has_every_measure_and_target(script: Script) -> None:
    line = "--reference tiny.csv --preset quick --proxy naswot,params+naswot"
    first = script(tau_table.main, line)
    lines = cells(first)
    assert lines[0] == ["measure", "first", "second"]
    names = [line[0] for line in lines[2:]]
    assert set(names[:5]) == {"params", "macs", "depth", "width", "expansions"}
    assert set(names[5:]) == {"naswot", "params + naswot"}
    assert {line[0]: line[1] for line in lines[2:]}["depth"] == "-"  # the same for all
    assert "6 rows; best counts: " in first
    assert cells(script(tau_table.main, line)) == lines  # measures nothing


def test_a_study_has_a_row_for_every_variant(script: Script) -> None:
    lines = cells(script(study_measures.main, "--reference tiny.csv --repeats 1"))
    assert lines[0] == ["", "τ, first", "minus best count, first"]  # from scratch only
    labels = [line[0] for line in lines[2:]]
    assert len(labels) == len(set(labels))
    assert {variant.label for variant in study_measures.VARIANTS} < set(labels)
    for label in ("parameters", "L^E, all tokens", "κ, mean of logarithms", "L^E, radius 1"):
        assert label in labels
    assert study_measures.TOKENS.name not in PROXIES  # nothing is left behind

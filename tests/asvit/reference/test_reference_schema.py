"""The file format of tables, written and read back."""

import math

from hypothesis import given
from hypothesis import strategies as st

from asvit.reference import Target
from asvit.reference.schema import format_table, read_sheet

words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=12).map(
    lambda text: " ".join(text.split())
)
targets = st.builds(
    Target,
    st.from_regex("[a-z][a-z0-9_]{0,9}", fullmatch=True),
    words.filter(lambda text: "|" not in text),
    st.sampled_from(["scratch", "distilled", "inherited", "unknown"]),
    st.one_of(st.none(), st.integers(-100, 100).map(lambda n: n / 100)),
)


@given(
    st.lists(targets, max_size=3, unique_by=lambda target: target.name),
    st.lists(st.tuples(words, st.integers(), words), min_size=1, max_size=4),
)
def test_what_is_written_is_read_back(tmp_path_factory, declared, rows):
    path = tmp_path_factory.mktemp("schema") / "table.csv"
    columns = {
        "architecture": [f"a{text}" for text, _, _ in rows],
        "number": [number for _, number, _ in rows],
        'a "quoted", name': [text for _, _, text in rows],
    }
    path.write_text(format_table({"title": "any"}, declared, columns), encoding="utf-8")
    sheet = read_sheet(path)
    assert sheet.targets == tuple(declared)
    assert sheet.provenance == {"title": "any"}
    assert sheet.columns == tuple(columns)
    above = 2 + len(declared) + sum(t.noise_ceiling is not None for t in declared)
    for place, row in enumerate(sheet.rows):
        assert row.line == above + place + 1
        assert list(row.cells.values()) == [str(column[place]) for column in columns.values()]


def test_numbers_as_they_are_written():
    text = format_table(
        {"default_target": "acc"},
        [Target("acc", "of what", "scratch", 0.87654)],
        {"architecture": ["a", "b", "c"], "acc": [70.0, math.nan, 1 / 3], "n": [1, None, 10**12]},
    )
    assert text.splitlines() == [
        "# default_target: acc",
        "# target: acc | of what | scratch",
        "# noise_ceiling: acc | 0.8765",
        "architecture,acc,n",
        "a,70,1",
        "b,,",
        "c,0.3333333333,1000000000000",
    ]


def test_lines_are_those_of_an_editor(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('# title: x\n\n# y\na,b\n\n"two\nlines",1\nnext,2\n', encoding="utf-8")
    assert [(row.line, row.cells["b"]) for row in read_sheet(path).rows] == [(6, "1"), (8, "2")]

"""The table of values survives its file."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.reference.result import Values

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)
NUMBER = st.floats(allow_infinity=False)


@st.composite
def values(draw: st.DrawFn) -> Values:
    rows = draw(st.integers(0, 4))
    column = st.tuples(*[NUMBER] * rows)
    names = TEXT.filter(lambda name: not name.startswith("accuracy:"))
    return Values(
        architectures=draw(st.tuples(*[TEXT] * rows)),
        image_sizes=draw(st.tuples(*[st.integers(1, 999)] * rows)),
        accuracies=draw(st.dictionaries(names, column, min_size=1, max_size=3)),
        measures=draw(st.dictionaries(names, column, max_size=3)),
        reasons=draw(st.tuples(*[TEXT] * rows)),
    )


@given(values())
def test_round_trip(before: Values) -> None:
    text = before.to_csv()
    after = Values.from_csv(text)
    assert repr(after) == repr(before)  # NaN is not equal to itself, its text is
    assert after.to_csv() == text


def test_the_file() -> None:
    made = Values(
        ("a,b", "c"), (32, 64), {"top1": (1.5, math.nan)}, {"params": (1.0, 2.0)}, ("", "x: no")
    )
    assert made.to_csv().splitlines() == [
        "architecture,image_size,accuracy:top1,params,reason",
        '"a,b",32,1.5,1.0,',
        "c,64,nan,2.0,x: no",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a table of values"),
        ("a,b,c\n", r"its columns are \['a', 'b', 'c'\]"),
        ("architecture,image_size,params,reason\nx,32,1\n", "line 2: 3 cells under a header of 4"),
        ("architecture,image_size,params,reason\nx,32,many,\n", "line 2: .*'many'"),
    ],
)
def test_something_else_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Values.from_csv(text)

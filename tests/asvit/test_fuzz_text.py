"""Whatever a message repeats: a terminal shows it and obeys nothing in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxies.messages import first_line, hint, unknown
from proxies.text import legible, listed, one_line, shown
from tests.hostile import FIXED, LONGEST

#: Surrogates too, which stand in the names of files for bytes that are no UTF-8.
anything = st.text(st.characters(), max_size=500)


@FIXED
@given(anything)
def test_legible(text: str) -> None:
    assert legible(text).isprintable()
    if text.isprintable():
        assert legible(text) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),  # a colour
        ("\x9b2J", r"\x9b2J"),  # the same start in one byte, which old terminals take
        ("\x1b]0;x\x07", r"\x1b]0;x\x07"),  # the title of the window
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\u202eexe.txt", r"\u202eexe.txt"),  # turns the direction of writing
        ("a\u2028b", r"a\u2028b"),
        ("\udcff", r"\udcff"),
        ("größer β ∂", "größer β ∂"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, seen: str) -> None:
    assert legible(text) == seen


@FIXED
@given(anything, st.lists(anything, max_size=30))
def test_messages_are_one_line_of_bounded_length(text: str, names: list[str]) -> None:
    error = ValueError(text * 10)
    for message in (
        one_line(text * 10),
        shown(text),
        shown({text: names}),
        first_line(error),
        listed(names),
        hint(text, names),
        unknown("name", text, names),
    ):
        assert message.isprintable()
        assert len(message) <= 10 * LONGEST  # every character may be written out
    assert len(one_line("x" * 9_999)) < LONGEST
    assert len(listed(["x" * 99] * 99)) < LONGEST

"""Names with arguments in texts."""

import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asvit.core.calls import LONGEST, call_text, parse_call

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
PLAIN = st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=5)
PLAIN |= st.floats(allow_nan=False, allow_infinity=False)
VALUES = PLAIN | st.lists(PLAIN, max_size=3).map(tuple)


@example("net", {"x_": "ª"})  # a name that Python would read as another one
@given(NAMES, st.dictionaries(NAMES.map(lambda name: f"x_{name}"), VALUES, max_size=4))
def test_a_text_is_read_as_it_was_written(name: str, arguments: dict[str, object]) -> None:
    text = call_text(name, arguments)
    assert parse_call(text) == (name, arguments)
    assert call_text(*parse_call(text)) == text
    types = {key: type(value) for key, value in parse_call(text)[1].items()}
    assert types == {key: type(value) for key, value in arguments.items()}


def test_spaces_quotes_and_order_do_not_matter() -> None:
    assert call_text(*parse_call("net( b = 'x', a=[1, 2.50] )")) == "net(a=[1,2.5],b=x)"
    assert parse_call("net") == ("net", {})
    assert parse_call("net()") == ("net", {})
    assert call_text("net", {}) == "net"


@pytest.mark.parametrize(
    "rest",
    ["", "a", "a=1", "1)", "a=1)b", "a=1)(b=2)", "a=1,a=2)", "**a)", "*a)", "a=f(1))", "a=b.c)",
     "a=1e999)", "a=1j)", "a=b'x')", "a=None)", "a={1:2})", "a={[]:1})", "a=lambda:0)", "a=1)\0",
     "a=[[x for x in y]])", "a=" + "[" * 200 + ")", "a='" + "x" * LONGEST + "')",
     "a=" + "9" * 450 + "e)"],
)  # fmt: skip
def test_anything_else_is_refused_in_one_line(rest: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"^.net\(.* is not NAME\(ARGUMENT=VALUE") as told:
            parse_call(f"net({rest}")
    assert "\n" not in str(told.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        name, arguments = parse_call(text)
    except ValueError:
        return
    assert text.startswith(name)
    assert parse_call(call_text(name, arguments)) == (name, arguments)

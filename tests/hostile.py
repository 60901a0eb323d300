"""What comes in from outside, and how it must be refused, for tests of what reads it."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

T = TypeVar("T")

#: The same examples everywhere, so that no change fails for another's reason.
FIXED = settings(derandomize=True, deadline=None, max_examples=20)
FEW = settings(FIXED, max_examples=10)

#: Characters of a message about something of any size: a line or two on a terminal, and a path.
LONGEST = 1000

_ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_NUMBERS = st.sampled_from(
    ["0", "-1", "1e999", "nan", "inf", "٣", "1_0", "+5", "9" * 30, "0x10", "1.5", " 2 ", ""]
)
_BREAKS = st.sampled_from(["\n", "\r\n", "\x1b[31m", "\x00", "\u2028", "\ud83d\ude00", "'", '"'])
#: Far more than anybody means: a message must not repeat it, and nothing may take long over it.
_HUGE = st.sampled_from(["x" * 5_000, "1," * 3_000, "|" * 5_000, "-" * 5_000, "9" * 5_000])


def refused_or(call: Callable[[], T]) -> T | None:
    """What ``call`` gives; None if it refuses in one printable line of bounded length.

    Any other exception than ValueError and OSError goes through, and fails the test.
    """
    try:
        return call()
    except (ValueError, OSError) as error:
        message = str(error)
    assert 0 < len(message) <= LONGEST, f"{len(message)} characters: {message[:LONGEST]!r}"
    assert message.isprintable(), repr(message)
    return None


def texts(*right: str) -> st.SearchStrategy[str]:
    """Any text; and right ones in which something is cut out, put in or put twice."""
    pieces = st.one_of(_ANY, _NUMBERS, _BREAKS, _HUGE)

    @st.composite
    def changed(draw: st.DrawFn) -> str:
        text = draw(st.sampled_from(right))
        for _ in range(draw(st.integers(0, 2))):
            start = draw(st.integers(0, len(text)))
            end = draw(st.integers(start, min(len(text), start + 4)))
            text = text[:start] + draw(pieces) + text[end:]
        return text

    return st.one_of(pieces, changed())


#: What a JSON file may hold as Python reads it, with numbers that JSON has no words for.
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([10**400, -(10**400), 2**63]),
        st.floats(),
        _ANY,
        _BREAKS,
        _HUGE,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_ANY, inner, max_size=4)),
    max_leaves=6,
)


def changed_json(right: Any) -> st.SearchStrategy[Any]:
    """A right content of a JSON file with a value or two replaced, left out or put in."""
    places = list(_places(right))

    @st.composite
    def changed(draw: st.DrawFn) -> Any:
        content = copy.deepcopy(right)
        for _ in range(draw(st.integers(1, 2))):
            *way, last = draw(st.sampled_from(places))
            try:
                inner = content
                for step in way:
                    inner = inner[step]
                if draw(st.booleans()) or isinstance(inner, list):
                    inner[last] = draw(values)
                elif draw(st.booleans()):
                    del inner[last]
                else:
                    inner[draw(_ANY)] = draw(values)
            except (KeyError, IndexError, TypeError):
                continue  # an earlier change took this place away
        return content

    return st.one_of(changed(), values)


def _places(content: Any, way: tuple[Any, ...] = ()) -> Any:
    """The way to every value below the top."""
    if isinstance(content, dict):
        inner = list(content.items())
    else:
        inner = list(enumerate(content)) if isinstance(content, list) else []
    for key, value in inner:
        yield (*way, key)
        yield from _places(value, (*way, key))


def changed_bytes(right: bytes) -> st.SearchStrategy[bytes]:
    """A right file cut short, with bytes put over others, or any bytes."""

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        start = draw(st.integers(0, len(right)))
        other = draw(st.one_of(st.binary(max_size=12), st.just(b"\xff" * 8), st.just(b"\0" * 8)))
        whole = draw(st.booleans())
        return right[:start] + other + (right[start + len(other) :] if whole else b"")

    return st.one_of(changed(), st.binary(max_size=64))

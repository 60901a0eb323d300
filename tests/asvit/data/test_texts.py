"""Texts in one buffer are those that were put in."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.data.texts import Texts


@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_every_text_comes_back(texts: list[str]) -> None:
    held = Texts(text for text in texts)
    assert list(held) == [held[place] for place in range(len(held))] == texts
    assert [held[place - len(held)] for place in range(len(held))] == texts
    assert list(pickle.loads(pickle.dumps(held))) == texts
    with pytest.raises(IndexError):
        held[len(texts)]


def test_names_that_are_no_utf8_come_back() -> None:
    assert list(Texts(["a", "\udcff.png", ""])) == ["a", "\udcff.png", ""]

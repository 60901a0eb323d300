"""Tables of what a classifier takes pictures for."""

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.core.answers import Answer, Confusion, confusions_of, read_answers, write_answers

ANSWERS = (
    Answer("a/1.png", "a", "a", 0.75, 0.25, "12" * 32),
    Answer("=b/,2.png", "b, c", "a", 1.0),
)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    write_answers(tmp_path / "predictions.csv", ANSWERS)
    found = read_answers(tmp_path / "predictions.csv")
    assert str(found) == str(ANSWERS)  # as NaN is unequal to itself
    assert [answer.right for answer in found] == [True, False]
    assert (tmp_path / "predictions.csv").read_text().splitlines()[1] == (
        f"a/1.png,a,a,0.75,0.25,{'12' * 32}"
    )


@given(names=st.lists(st.text(min_size=1), min_size=1), share=st.floats(0, 1))
def test_any_names_are_read_as_they_are_shown(
    names: list[str], share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("answers") / "predictions.csv"
    write_answers(path, [Answer(name, name, names[0], share, share) for name in names])
    shown = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    assert [answer.image for answer in read_answers(path)] == shown


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sha256", "sha1", "not a table of predictions: its columns are"),
        ("0.75", "1.75", "line 2: probability must be 0 to 1, got 1.75"),
        ("0.75", "x", "line 2: could not convert string to float"),
        (",a,a,", ",a,", "line 2: 5 cells under a header of 6"),
    ],
)
def test_another_table_is_refused_in_one_line(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    write_answers(path := tmp_path / "predictions.csv", ANSWERS)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf"predictions\.csv cannot be read: {words}") as caught:
        read_answers(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        read_answers(tmp_path / "none.csv")


def test_confusions_are_the_pairs_that_occur_the_most_frequent_first() -> None:
    answers = [("b", "a"), ("a", "a"), ("b", "b"), ("a", "a"), ("b", "a")]
    assert confusions_of(answers) == (
        Confusion("a", "a", 2, 100.0),
        Confusion("b", "a", 2, 100 * 2 / 3),
        Confusion("b", "b", 1, 100 / 3),
    )
    assert confusions_of([]) == ()


@pytest.mark.parametrize(("classes", "mistakes"), [(32, 992), (33, 1_000), (200, 1_000)])
def test_confusions_of_many_classes_are_right_answers_and_the_most_frequent_mistakes(
    classes: int, mistakes: int
) -> None:
    every = list(product(range(classes), repeat=2))
    answers = [*every, (classes - 1, 0)]  # the last class is taken for the first twice
    pairs = confusions_of((str(label), str(taken)) for label, taken in answers)
    assert sum(pair.label == pair.predicted for pair in pairs) == classes
    assert len(pairs) == classes + mistakes
    assert pairs[0] == Confusion(str(classes - 1), "0", 2, 100 * 2 / (classes + 1))

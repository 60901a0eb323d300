"""Classes of pictures and those of a network, by their names."""

import logging
from typing import Any

import pytest

from asvit.evaluation.metrics import match_classes

NAMED: dict[str, Any] = {"has_names": True, "data": "photos", "weights": "runs/pets"}
NAMELESS = {**NAMED, "has_names": False}


def test_classes_are_found_by_name_whatever_their_order() -> None:
    places, names = match_classes(["dog", "cat"], ["cat", "cow", "dog"], **NAMED)
    assert (places.tolist(), names) == ([2, 0], ("cat", "cow", "dog"))


def test_classes_that_the_network_does_not_know_are_named() -> None:
    with pytest.raises(ValueError, match="photos has classes that") as caught:
        match_classes(["cat", "ox", "\x1bfox"], ["cat", "cow"], **NAMED)
    assert str(caught.value) == (
        "photos has classes that runs/pets does not know: ox, \\x1bfox; it knows cat, cow"
    )


def test_weights_without_names_take_as_many_folders_in_their_order(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        places, names = match_classes(["a", "b"], ["0", "1"], **NAMELESS)
    assert (places.tolist(), names) == ([0, 1], ("a", "b"))
    assert "runs/pets does not name its classes; the 2 of photos are taken in their order" in (
        caplog.text
    )
    assert match_classes(["1"], ["0", "1"], **NAMELESS)[0].tolist() == [1]
    numbers = [str(number) for number in range(11)]
    caplog.clear()
    places, names = match_classes(sorted(numbers), numbers, **NAMELESS)
    assert (places.tolist(), names) == ([*range(11)], tuple(sorted(numbers)))
    assert "the 11 of photos are taken in their order" in caplog.text
    with pytest.raises(ValueError, match="does not know: a; it knows 2 without names"):
        match_classes(["a"], ["0", "1"], **NAMELESS)


def test_classes_whose_names_are_numbers_are_not_taken_in_their_order() -> None:
    with pytest.raises(ValueError, match="does not know: one, zero; it knows 0, 1"):
        match_classes(["one", "zero"], ["0", "1"], **NAMED)

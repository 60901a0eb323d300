"""Measures of a classifier against plain slow versions, and closed forms."""

import logging
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from asvit.use.measures import (
    BINS,
    Scored,
    calibration_error,
    calibration_rows,
    match_classes,
    measures,
    score,
)

CLASSES = tuple("abcdefg")


def scored(logits: object, labels: object) -> Scored:
    values = np.asarray(logits, dtype=np.float64)
    return score(values, np.asarray(labels, dtype=np.int64), CLASSES[: values.shape[1]])


def softmax(row: NDArray[np.float64]) -> list[float]:
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


@st.composite
def any_scored(draw: st.DrawFn) -> tuple[Scored, NDArray[np.float64]]:
    classes, pictures = draw(st.integers(2, 7)), draw(st.integers(1, 30))
    logits = draw(arrays(np.float64, (pictures, classes), elements=st.integers(-9, 9)))
    labels = draw(arrays(np.int64, (pictures,), elements=st.integers(0, classes - 1)))
    return scored(logits, labels), logits


@given(given_logits=any_scored())
def test_measures_are_those_of_a_plain_version(
    given_logits: tuple[Scored, NDArray[np.float64]],
) -> None:
    case, logits = given_logits
    found = measures(case)
    shares = [softmax(row) for row in logits]
    taken = [max(range(len(row)), key=lambda at: row[at]) for row in shares]
    labels, count = case.labels.tolist(), len(case.labels)
    right = [one == other for one, other in zip(labels, taken, strict=True)]
    assert found["accuracy"] == pytest.approx(100 * sum(right) / count)
    losses = [-math.log(row[label]) for row, label in zip(shares, labels, strict=True)]
    assert found["loss"] == pytest.approx(sum(losses) / count)
    recalls = []
    for row in found["per_class"]:
        place = CLASSES.index(row.label)
        own = [t == place for t, label in zip(taken, labels, strict=True) if label == place]
        recalls.append(sum(own) / len(own))
        positive = taken.count(place)
        assert (row.pictures, row.taken_for_it) == (len(own), positive)
        assert row.recall == pytest.approx(100 * recalls[-1])
        if positive:
            assert row.precision == pytest.approx(100 * sum(own) / positive)
        else:
            assert math.isnan(row.precision)
        assert row.f1 == pytest.approx(200 * sum(own) / (positive + len(own)))
    assert found["balanced_accuracy"] == pytest.approx(100 * sum(recalls) / len(recalls))
    names = [(CLASSES[one], CLASSES[other]) for one, other in zip(labels, taken, strict=True)]
    assert {(pair.label, pair.predicted): pair.images for pair in found["confusion"]} == Counter(
        names
    )
    for name in ("accuracy", "balanced_accuracy"):
        low, high = found[f"{name}_interval"]
        assert 0 <= low <= found[name] + 1e-9
        assert found[name] - 1e-9 <= high <= 100


@given(given_logits=any_scored())
def test_calibration_is_that_of_a_plain_version(
    given_logits: tuple[Scored, NDArray[np.float64]],
) -> None:
    case, logits = given_logits
    rows = calibration_rows(case)
    shares = [max(softmax(row)) for row in logits]
    right = (case.predicted == case.labels).tolist()
    error = 0.0
    for place in range(BINS):
        low, high = place / BINS, (place + 1) / BINS
        own = [at for at, share in enumerate(shares) if low < share <= high + 1e-12]
        if own:
            confidence = sum(shares[at] for at in own) / len(own)
            accuracy = sum(right[at] for at in own) / len(own)
            error += len(own) / len(right) * abs(confidence - accuracy)
    assert calibration_error(rows) == pytest.approx(100 * error, abs=1e-6)
    assert sum(row.pictures for row in rows) == len(right)
    for row in rows:
        assert row.low - 1e-9 <= row.confidence <= row.high + 1e-9
        assert row.accuracy_interval.low <= row.accuracy <= row.accuracy_interval.high


def test_the_five_likeliest_are_told_of_six_classes_or_more() -> None:
    logits = np.tile(np.arange(6.0), (3, 1))  # the first class is the least likely
    assert measures(scored(logits, [0, 1, 5]))["top5"] == pytest.approx(200 / 3)
    assert "top5" not in measures(scored(logits[:, :5], [0, 1, 4]))


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

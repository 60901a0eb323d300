"""The result of a test of a classifier."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asvit.core.answers import Answer, Confusion, read_answers
from asvit.core.codec import Nullable
from asvit.core.estimates import Interval
from asvit.core.results import Result
from asvit.core.run_files import ANSWERS, RESULT
from asvit.use.settings import EvaluationSettings


@dataclass(frozen=True)
class ClassRow:
    """A class of the pictures; shares in per cent."""

    label: str
    pictures: int  #: of this class
    taken_for_it: int  #: pictures of any class that the network takes for it
    precision: Nullable  #: share of these that are of the class; NaN where there are none
    recall: float  #: share of its pictures that are taken for it
    recall_interval: Interval  #: its 95 % interval (Wilson's)
    f1: float  #: harmonic mean of precision and recall


@dataclass(frozen=True)
class CalibrationRow:
    """Pictures whose class has a probability in a range; shares in per cent."""

    low: float  #: of the range
    high: float
    pictures: int
    confidence: float  #: mean probability of the predicted class
    accuracy: float  #: share that is right
    accuracy_interval: Interval  #: its 95 % interval (Wilson's)


@dataclass(frozen=True, kw_only=True)
class Measures:
    """How good a classifier is on some pictures."""

    architecture: str  #: text of the network
    image_size: int  #: side of the images in pixels
    classes: Sequence[str]  #: those that the network knows
    pictures: int  #: how many were tested
    accuracy: float  #: share of right answers, per cent
    accuracy_interval: Interval  #: its 95 % interval (Wilson's)
    #: Mean over the classes of the pictures of the share of right answers, per cent.
    balanced_accuracy: float
    balanced_accuracy_interval: Interval  #: its 95 % interval (Price and Bonett's)
    top5: Nullable = math.nan  #: share whose class is among the five likeliest, of six or more
    macro_f1: float  #: mean F1 over the classes of the pictures, per cent
    loss: float  #: mean cross-entropy, nats
    #: Expected calibration error: mean distance between probability and share of right answers
    #: over the ranges of ``calibration``, in points.
    calibration_error: float
    per_class: Sequence[ClassRow]  #: the classes of the pictures
    calibration: Sequence[CalibrationRow]  #: ranges of probability that have pictures
    #: Pictures by class and the class they are taken for, the most frequent pairs first: all right
    #: ones, and of mistakes at most 1,000 pairs.
    confusion: Sequence[Confusion]
    unreadable: Mapping[str, str]  #: pictures left out, and why
    trained_on: int  #: pictures that the network was trained on, as far as is known

    @property
    def absent(self) -> list[str]:
        """Classes of the network that no picture is of."""
        there = {row.label for row in self.per_class}
        return [label for label in self.classes if label not in there]


@dataclass(frozen=True, kw_only=True)
class EvaluationResult(Result, Measures):
    """How good a classifier is on labelled pictures.

    Example:
        >>> copy = asvit.export_network(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", to="safetensors", random=True, image_size=32,
        ...     num_classes=2, out="untrained.safetensors", force=True,
        ... )
        >>> tested = asvit.test("pictures", weights="untrained.safetensors")
        >>> sum(pair.images for pair in tested.confusion) == tested.pictures
        True
    """

    kind = "test"
    noun = "test"
    provenance_keys = ("weights", "images", "device", "versions", "command")
    hidden = ("answers",)
    rows_in = "predictions"
    answered = "accuracy"

    settings: EvaluationSettings
    answers: Sequence[Answer] = ()  #: what it takes each picture for, as in predictions.csv

    @classmethod
    def parse(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """As the base does; ``folder`` has predictions.csv, too."""
        result = super().parse(content, folder)
        answers = read_answers(folder / ANSWERS)
        if len(answers) != result.pictures:
            raise ValueError(
                f"{ANSWERS} has {len(answers)} pictures where {RESULT} has {result.pictures}"
            )
        return dataclasses.replace(result, answers=answers)

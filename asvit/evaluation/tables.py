"""The result of a test as tables."""

from collections.abc import Mapping, Sequence
from itertools import islice

from asvit.core.answers import Confusion
from asvit.core.estimates import Estimate
from asvit.core.summary import Cell, Table
from asvit.evaluation.result import ClassRow, EvaluationResult

_WORST = 20  # classes of a summary
_PICTURES = 20  # that were left out, likewise
_MATRIX = 12  # classes of a matrix
MOST_PAIRS = 20  # of classes that are confused


def worst_classes(classes: Sequence[ClassRow]) -> Table:
    """Precision, recall and F1 by class; of many classes the worst."""
    title = "By class, per cent"
    if len(classes) > _WORST:
        title = f"The worst {_WORST} of {len(classes)} classes by F1, per cent"
        classes = sorted(classes, key=lambda row: row.f1)[:_WORST]
    return class_table(classes, title)


def pictures_table(reasons: Mapping[str, str], title: str) -> Table:
    """Pictures that are left out, and why; of many the first, as the result has all."""
    if len(reasons) > _PICTURES:
        title += f": the first {_PICTURES} of {len(reasons):,}, all of which the result has"
    return Table(["picture", "why"], list(islice(reasons.items(), _PICTURES)), title)


def class_table(classes: Sequence[ClassRow], title: str) -> Table:
    """Precision, recall and F1 by class."""
    rows: list[list[Cell]] = [
        [
            *(row.label, row.pictures, row.precision),
            Estimate(row.recall, *row.recall_interval, digits=1),
            row.f1,
        ]
        for row in classes
    ]
    return Table(["class", "pictures", "precision", "recall [95 %]", "F1"], rows, title)


def confusion_table(result: EvaluationResult) -> Table:
    """The confusion matrix, a row for each class of the pictures; of many classes, worst pairs."""
    if len(result.classes) > _MATRIX:
        return most_confused(result.confusion)
    counts = {(pair.label, pair.predicted): pair.images for pair in result.confusion}
    rows: list[list[Cell]] = [
        [row.label, *(counts.get((row.label, name), 0) for name in result.classes)]
        for row in result.per_class
    ]
    return Table(["class", *result.classes], rows, "Pictures by the class they are taken for")


def most_confused(pairs: Sequence[Confusion]) -> Table:
    """The pairs of classes that are confused most."""
    wrong = sorted(
        (pair for pair in pairs if pair.label != pair.predicted), key=lambda pair: -pair.images
    )
    rows: list[list[Cell]] = [
        [pair.label, pair.predicted, pair.images, pair.share] for pair in wrong[:MOST_PAIRS]
    ]
    columns = ["class", "taken for", "images", "of the class (%)"]
    return Table(columns, rows, "Most confused classes")

"""The result of a test as tables."""

from collections.abc import Mapping, Sequence
from itertools import islice

from asvit.core.estimates import Estimate
from asvit.core.summary import Cell, Table
from asvit.evaluation.result import ClassRow, EvaluationResult

_WORST = 20  # classes of a summary
_PICTURES = 20  # that were left out, likewise


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
    """The confusion matrix: a row for each class that pictures are of."""
    there = {row.label for row in result.per_class}
    rows: list[list[Cell]] = [
        [label, *counts]
        for label, counts in zip(result.classes, result.confusion, strict=True)
        if label in there
    ]
    return Table(["class", *result.classes], rows, "Pictures by the class they are taken for")

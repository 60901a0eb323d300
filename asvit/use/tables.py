"""The result of a test as tables."""

from collections.abc import Mapping, Sequence
from itertools import islice

from asvit.core.answers import Confusion
from asvit.core.estimates import Estimate
from asvit.core.summary import Cell, Table
from asvit.use.result import ClassRow

_MOST = 20  # rows of tables in a summary


def worst_classes(classes: Sequence[ClassRow]) -> Table:
    """Precision, recall and F1 by class; of many classes the worst."""
    if len(classes) <= _MOST:
        return class_table(classes, "By class, per cent")
    worst = sorted(classes, key=lambda row: row.f1)[:_MOST]
    return class_table(worst, f"The worst {_MOST} of {len(classes)} classes by F1, per cent")


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


def pictures_table(reasons: Mapping[str, str], title: str) -> Table:
    """Pictures that are left out, and why; of many the first, as the result has all."""
    if len(reasons) > _MOST:
        title += f": the first {_MOST} of {len(reasons):,}, all of which the result has"
    return Table(["picture", "why"], list(islice(reasons.items(), _MOST)), title)


def most_confused(pairs: Sequence[Confusion]) -> Table:
    """The pairs of classes that are confused most."""
    wrong = (pair for pair in pairs if pair.label != pair.predicted)
    rows: list[list[Cell]] = [
        [pair.label, pair.predicted, pair.images, pair.share]
        for pair in sorted(wrong, key=lambda pair: -pair.images)[:_MOST]
    ]
    columns = ["class", "taken for", "images", "of the class (%)"]
    return Table(columns, rows, "Most confused classes")

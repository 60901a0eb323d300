"""Trainings of kinds of architectures, such as those that searches, growths and rules end in."""

import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from asvit.core.estimates import Estimate
from asvit.statistics.intervals import contrast
from experiments.study import Case, Study, cases, paired_differences, points
from experiments.tables import markdown

#: Kind to the number of its architectures, and what gives the text of each by its number.
Kinds = Mapping[str, tuple[int, Callable[[int], str]]]

RANDOM = "random"


@dataclass(frozen=True)
class Row:
    """One training: test accuracy in per cent."""

    kind: str
    search: int  # seed of the search or growth, or number of the draw
    architecture: str
    training: int  # seed of the training
    accuracy: float


def kinds_study(
    table: Path, kinds: Kinds, train: Callable[[str, int], float], trainings: int = 3
) -> Study[Row]:
    """Trainings of kinds of architectures, ``trainings`` of each; ``train`` gives an accuracy.

    All architectures are trained once before any is trained again. An architecture that the table
    names is not looked for again, and one of several kinds is trained once for all.
    """

    def measure(kind: str, search: int, training: int) -> Case:
        rows = study.rows()
        texts = {(row.kind, row.search): row.architecture for row in rows}
        text = texts.get((kind, search)) or kinds[kind][1](search)
        accuracies = {(row.architecture, row.training): row.accuracy for row in rows}
        accuracy = accuracies.get((text, training))
        return {
            "architecture": text,
            "accuracy": train(text, training) if accuracy is None else accuracy,
        }

    every = [
        case
        for kind, (count, _) in kinds.items()
        for case in cases(kind=[kind], search=range(count), training=range(trainings))
    ]
    study = Study(Row, table, every, measure, repeat="training")
    return study


def accuracies(rows: Sequence[Row], kind: str) -> Mapping[int, Sequence[float]]:
    """Search or draw to the accuracies of its trainings."""
    values: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: (row.search, row.training)):
        if row.kind == kind:
            values.setdefault(row.search, []).append(row.accuracy)
    return values


def architectures(rows: Sequence[Row], kind: str) -> Iterator[tuple[int, str, Sequence[float]]]:
    """Search or draw, architecture, and the accuracies of its trainings."""
    texts = {row.search: row.architecture for row in rows if row.kind == kind}
    for search, values in accuracies(rows, kind).items():
        yield search, texts[search], values


def accuracy_cells(values: Sequence[float]) -> tuple[str, str]:
    """Accuracies and their mean as cells of a table."""
    return ", ".join(f"{value:.1f}" for value in values), f"{statistics.fmean(values):.1f}"


def difference(
    rows: Sequence[Row], pairs: Sequence[tuple[str, str]], *, paired: Collection[str] = ()
) -> Estimate:
    """Mean accuracy of one kind minus that of another, with Welch's or Student's 95 % interval.

    Of several pairs of kinds, it is the mean of their differences. A kind has a value for each of
    its architectures, the mean over trainings, or where it has one architecture for each training;
    an architecture that several searches or growths end in counts once. Two outcomes of searches
    with one seed share what they are judged by, such as the images and initial weights of the
    measures; of kinds in ``paired``, their differences are the values.
    """
    terms: list[tuple[float, Sequence[float]]] = []
    for pair in pairs:
        weight = 1 / len(pairs)
        sides = [[row for row in rows if row.kind == kind] for kind in pair]
        left, right = ({row.search for row in side} for side in sides)
        if left == right and len(left) > 1 and {*pair} <= {*paired}:
            terms.append((weight, paired_differences(*sides, pair=["search"])))
        else:
            terms += [(weight, values_of(rows, pair[0])), (-weight, values_of(rows, pair[1]))]
    return contrast(*terms)


def values_of(rows: Sequence[Row], kind: str) -> Sequence[float]:
    """Mean of each architecture of a kind, or the accuracies of its only one."""
    distinct = {text: values for _, text, values in architectures(rows, kind)}
    if len(distinct) > 1:
        return [statistics.fmean(values) for values in distinct.values()]
    return next(iter(distinct.values()))


def differences(
    compared: Mapping[str, Sequence[tuple[str, str]]],
    rows: Sequence[Row],
    *,
    paired: Collection[str] = (),
) -> str:
    """The differences of labelled pairs of kinds, as Markdown; see :func:`difference`.

    Pairs of a kind without rows, in a comparison that was stopped, have no line.
    """
    there = {row.kind for row in rows}
    lines = [
        (label, *points(difference(rows, pairs, paired=paired)))
        for label, pairs in compared.items()
        if there.issuperset(chain.from_iterable(pairs))
    ]
    return markdown({"points more": "l", "mean": "r", "95 % interval": "r"}, lines)

"""Numbers of two runs, and their differences with intervals: in pairs where cases are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from asvit.core.answers import Answer
from asvit.core.estimates import Estimate
from asvit.core.results import Result
from asvit.statistics.intervals import (
    combined,
    paired_difference,
    proportion,
    stratified_difference,
    weighted_proportions,
)

Value = str | float | bool | Estimate | None

ACCURACY, BALANCED = "accuracy", "balanced_accuracy"  # from what each picture is taken for
_SECONDS = "wall_seconds"
_SHARED = 0.5  # of the pictures of either test, from which on two are compared in pairs


@dataclass(frozen=True)
class Difference:
    """A number of one run minus that of the first."""

    measure: str  #: the number
    run: int  #: place of the run among those compared, from 1
    estimate: Estimate  #: its cases are those compared in pairs, of independent samples 0


def values_of(result: Result) -> dict[str, Value]:
    """The numbers and texts of a run; accuracies come from what each picture is taken for."""
    values, answers = result.comparable(), result.answers
    if result.answered in values:
        values = {ACCURACY: values.pop(result.answered), **values}
    if answers:
        right = proportion(sum(answer.right for answer in answers), len(answers))
        shares = {ACCURACY: right.per_cent, BALANCED: _balanced([(1, answers)]).per_cent}
        values = {**values, **shares}
        values = {name: values[name] for name in dict.fromkeys((ACCURACY, BALANCED, *values))}
    return {**values, _SECONDS: result.wall_seconds}


#: A result and its :func:`values_of`.
Valued = tuple[Result, Mapping[str, Value]]


def differences(place: int, other: Valued, one: Valued) -> Iterator[Difference]:
    """Each number of a run, in its place among those compared, minus that of the first."""
    (run, values), (first, others) = other, one
    in_pairs = dict(_accuracy_differences(run, first))
    for name, value in values.items():
        base = others.get(name)
        if name in in_pairs:
            yield Difference(name, place, in_pairs[name])
        elif isinstance(value, Estimate) and isinstance(base, Estimate):
            yield Difference(name, place, _apart(value, base))
        elif (plain := _number(value)) is not None and (base := _number(base)) is not None:
            yield Difference(name, place, Estimate(plain - base))


def _apart(value: Estimate, other: Estimate) -> Estimate:
    """The difference of two estimates; an interval where both have one of the same level."""
    if value.level != other.level:
        return Estimate(value.value - other.value)
    return combined((1, value), (-1, other))


def _accuracy_differences(run: Result, first: Result) -> Iterator[tuple[str, Estimate]]:
    """The differences of accuracies: in pairs where enough pictures are in both tests."""
    ours, theirs = run.answers, first.answers
    if not ours or not theirs:
        return
    pairs = _pairs(ours, theirs, same_names=_same_images(run, first))
    if len(pairs) >= max(2, _SHARED * max(len(ours), len(theirs))):
        right, other = ([answer.right for answer in side] for side in zip(*pairs, strict=True))
        balanced = stratified_difference(right, other, [answer.label for answer, _ in pairs])
        for name, apart in ((ACCURACY, paired_difference(right, other)), (BALANCED, balanced)):
            how = "pictures that both tested"
            yield name, replace(apart.per_cent, cases=len(pairs), how=how)
        return
    shares = [proportion(sum(each.right for each in side), len(side)) for side in (ours, theirs)]
    yield ACCURACY, combined((1, shares[0]), (-1, shares[1])).per_cent
    yield BALANCED, _balanced([(1, ours), (-1, theirs)]).per_cent


def _same_images(run: Result, first: Result) -> bool:
    """Whether the images of two runs are the same sets, by their names and labels."""
    digests = [(each.provenance.get("images") or {}).get("digest") for each in (run, first)]
    return digests[0] is not None and digests[0] == digests[1]


def _pairs(
    ours: Sequence[Answer], theirs: Sequence[Answer], *, same_names: bool
) -> list[tuple[Answer, Answer]]:
    """The answers about the same pictures: of the same content, or of the same name in one set."""
    by_key = dict(_keyed(theirs, same_names=same_names))
    return [
        (answer, by_key[key])
        for key, answer in _keyed(ours, same_names=same_names)
        if key in by_key
    ]


def _keyed(
    answers: Sequence[Answer], *, same_names: bool
) -> Iterator[tuple[tuple[object, ...], Answer]]:
    """Each answer with what its picture is known by: content and class, and which copy it is."""
    copies: dict[tuple[str, str], Iterator[int]] = {}
    for answer in answers:
        key = answer.digest or (answer.image if same_names else "")
        if key:
            numbers = copies.setdefault((key, answer.label), count())
            yield (key, answer.label, next(numbers)), answer


def _balanced(sides: Sequence[tuple[int, Sequence[Answer]]]) -> Estimate:
    """A sum of balanced accuracies, each with a sign."""
    groups = []
    for sign, answers in sides:
        by_class: dict[str, list[bool]] = {}
        for answer in answers:
            by_class.setdefault(answer.label, []).append(answer.right)
        weight = sign / len(by_class)
        groups += [(weight, sum(right), len(right)) for right in by_class.values()]
    return weighted_proportions(*groups)


def _number(value: Value) -> float | None:
    """A value as a number; None where it is none."""
    if isinstance(value, Estimate):
        return value.value
    return None if isinstance(value, bool | str) else value

"""Runs beside each other: settings that differ, results, and their differences with intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.answers import Answer
from asvit.core.codec import to_json
from asvit.core.console import clock, number, quantity
from asvit.core.estimates import Estimate
from asvit.core.results import Result
from asvit.core.settings import Settings
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.runs.reporting import kind_of, result_in
from asvit.statistics.intervals import (
    combined,
    paired_difference,
    proportion,
    stratified_difference,
    weighted_proportions,
)
from asvit.use.architectures import run_folder
from proxies.text import one_line

if TYPE_CHECKING:
    from pandas import DataFrame

Value = str | float | bool | Estimate | None

SCHEMA_VERSION = 1
ACCURACY, BALANCED = "accuracy", "balanced_accuracy"  # from what each picture is taken for
_TIME = "wall_seconds"
_ORIGIN = ("images", "weights", "device")  # provenance that may differ
_OF_TABLES = "reliability."  # how measures rank a bundled table, which no run changes
_SHARED = 0.5  # of the pictures of either test, from which on two are compared in pairs


@dataclass(frozen=True)
class Difference:
    """A number of one run minus that of the first."""

    measure: str  #: the number
    run: int  #: place of the run among those compared, from 1
    estimate: Estimate  #: its cases are those compared in pairs, of independent samples 0

    @property
    def name(self) -> str:
        """The number in words."""
        return self.measure.replace("_", " ")

    @property
    def made(self) -> str:
        """How its interval was made; empty without one."""
        if math.isnan(self.estimate.low):
            return ""
        if not self.estimate.cases:
            return "as of independent samples, from the interval of each"
        return f"in pairs on {self.estimate.cases:,} {self.estimate.how}"

    @property
    def cell(self) -> Cell:
        """It as a table shows it, with its sign."""
        if self.made:
            return replace(self.estimate, sign="+")
        return f"{'+' * (self.estimate.value >= 0)}{number(self.estimate.value)}"


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other.

    Example:
        >>> runs = [
        ...     asvit.run_scaling(
        ...         "8,2,3|4,1,2|4,1,4|4,1,6|32", budget=budget, stop_within=0.2, image_size=32,
        ...         images=2, points=3, repeats=1, out=f"scaling-{budget}",
        ...     )
        ...     for budget in ("2.5M", "3M")
        ... ]
        >>> comparison = asvit.compare(*runs)
        >>> comparison.settings["budgets"]
        (['2.5M'], ['3M'])
    """

    runs: Sequence[Result]
    #: Settings that differ, with the value of each run; None where a run has no such setting.
    settings: Mapping[str, Sequence[Any]]
    #: Numbers and texts with the value of each run, None where it has none: those of any run, or
    #: of two at least where kinds differ.
    results: Mapping[str, Sequence[Value]]
    differences: Sequence[Difference]  #: of the numbers that the runs have in common

    def to_dataframe(self) -> DataFrame:
        """The results as a pandas data frame: a row for each run, a column for each number."""
        import pandas as pd

        columns = {
            name: [value.value if isinstance(value, Estimate) else value for value in values]
            for name, values in self.results.items()
        }
        return pd.DataFrame(columns, index=list(map(_place_of, self.runs)))

    def to_json(self) -> dict[str, Any]:
        """The content of ``--json``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "runs": [
                {
                    "folder": str(run.folder) if run.kept else None,
                    "kind": run.kind,
                    "command": to_json(run.provenance.get("command")),
                }
                for run in self.runs
            ],
            "settings": to_json(self.settings),
            "results": {name: list(map(_plain, values)) for name, values in self.results.items()},
            "differences": [
                {
                    "measure": each.measure,
                    "run": each.run,
                    **_plain(each.estimate),
                    "cases": each.estimate.cases,
                    "what": each.estimate.how,
                    "p": to_json(each.estimate.p),
                }
                for each in self.differences
            ],
        }

    def summary(self) -> Iterator[SummaryPart]:
        """The runs, what differs between them, and how to read the differences."""
        for place, run in enumerate(self.runs, 1):
            yield f"{place}: {run.noun} {_place_of(run)}, in {clock(run.wall_seconds)}"
        places = [str(place) for place in range(1, len(self.runs) + 1)]
        if self.settings:
            rows = [[name, *map(_shown, values)] for name, values in self.settings.items()]
            yield Table(["setting", *places], rows, "Settings that differ")
        else:
            alike = len({run.kind for run in self.runs}) == 1
            yield "no settings differ" if alike else "no settings that all have differ"
        results = {name: values for name, values in self.results.items() if name != _TIME}
        differing = {
            name: values
            for name, values in results.items()
            if any(value != values[0] or isinstance(value, Estimate) for value in values)
        }
        cells = {(each.measure, each.run): each.cell for each in self.differences}
        texts, numbers = list[list[Cell]](), list[list[Cell]]()
        for name, values in differing.items():
            row = [name.replace("_", " "), *map(_shown, values)]
            apart = [cells.get((name, place)) for place in range(2, len(self.runs) + 1)]
            if any(isinstance(value, str) for value in values):
                texts.append(row)
            else:
                numbers.append([*row, *apart])
        if texts:
            yield Table(["", *places], texts, "Results in words")
        if numbers:
            columns = ["", *places, *(f"{place} − 1" for place in places[1:])]
            yield Table(columns, numbers, "Results")
        same = len(results) - len(differing)
        equal = f"{quantity(same, 'more result')} {'is' if same == 1 else 'are'} the same; "
        yield f"{equal * bool(same)}intervals are of 95 % unless they say otherwise"
        yield from self._notes()

    def _notes(self) -> Iterator[str]:
        """Which accuracies tell little, and how the differences of each run came about."""
        for place, run in enumerate(self.runs, 1):
            if getattr(run.settings, "train_on_validation", False):
                yield f"{place}: was trained on its validation pictures, too"
        groups: dict[tuple[int, str], list[str]] = {}
        for each in self.differences:
            if each.made:
                groups.setdefault((each.run, each.made), []).append(each.name)
        for (place, made), names in groups.items():
            yield f"{place} − 1: {one_line(', '.join(names))}: {made}"
        for each in self.differences:
            if not math.isnan(each.estimate.p):
                yield f"{each.run} − 1: McNemar's p of {each.name} {each.estimate.p:.3g}"
        if any(not each.made and each.measure != _TIME for each in self.differences):
            yield (
                "differences without an interval are of single values; by how much another seed "
                "would change them is not known"
            )

    def _repr_html_(self) -> str:
        """The summary, as a notebook shows it."""
        from asvit.report.html import summary_html

        return summary_html(self.summary(), heading="h4")


def compare(*runs: str | Path | Result) -> Comparison:
    """Compare runs of any kinds: settings that differ, results, and differences from the first.

    Accuracies are compared in pairs where both runs tested the same pictures; other differences
    have an interval where the numbers have one.

    Args:
        *runs: Folders of finished runs, or results.

    Raises:
        ValueError: If there are fewer than two, or a file in them cannot be read.
        FileNotFoundError: If a folder is none of a run, or the run has not finished.

    Example:
        >>> results = [
        ...     asvit.run_training(
        ...         "8,2,3|4,1,2|4,1,4|4,1,6|32", image_size=32, classes=2, train_images=20,
        ...         validation_images=10, epochs=1, batch_size=10, seed=0, flip=flip,
        ...         out=f"flip-{flip}",
        ...     )
        ...     for flip in (0.0, 0.5)
        ... ]
        >>> asvit.compare(*results).settings
        {'flip': (0.0, 0.5)}
    """
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} run(s) to compare; name two or more")
    results = [run if isinstance(run, Result) else read_result(run) for run in runs]
    values = [_values(result) for result in results]
    described = [_described(result) for result in results]
    several = len({type(result) for result in results}) > 1
    settings = {
        name: of
        for name, of in _beside(described, least=len(runs) if several else 1).items()
        if any(value != of[0] for value in of)
    }
    differences = [
        Difference(name, place, estimate)
        for place, (result, own) in enumerate(zip(results[1:], values[1:], strict=True), 2)
        for name, estimate in _differences(result, own, results[0], values[0])
        if not math.isnan(estimate.value)
    ]
    return Comparison(
        tuple(results), settings, _beside(values, least=2 if several else 1), tuple(differences)
    )


def read_result(place: str | Path) -> Result:
    """The result of a finished run, by its folder or its result.json.

    Raises:
        FileNotFoundError: If it is no folder of a run, or the run has not finished.
        ValueError: If a file in it cannot be read.
    """
    folder = run_folder(str(place))
    kind = kind_of(folder) if folder is not None else None
    if folder is None or kind is None:
        raise FileNotFoundError(f"{place} is no run folder of asvit; name one")
    return result_in(kind, folder)


def _values(result: Result) -> dict[str, Value]:
    """The numbers and texts of a run; accuracies come from what each picture is taken for."""
    facts, answers = result.comparable(), result.answers
    values: dict[str, Value] = {
        name: value
        for name, value in facts.items()
        if not name.startswith(_OF_TABLES)
        and not (name.startswith("values.") and name.removeprefix("values.") in facts)
    }
    accuracies: dict[str, Value] = {}
    if result.answered in values:
        accuracies[ACCURACY] = values.pop(result.answered)
    if answers:
        right = proportion(sum(answer.right for answer in answers), len(answers))
        balanced = weighted_proportions(*_recalls(answers))
        accuracies = {ACCURACY: right.per_cent, BALANCED: balanced.per_cent}
    return {**accuracies, **values, **accuracies, _TIME: result.wall_seconds}


def _beside(each: Sequence[Mapping[str, Any]], *, least: int) -> dict[str, tuple[Any, ...]]:
    """The values of every name that so many runs have; None where a run has no such."""
    counts = Counter(name for one in each for name in one)
    names = [name for name, count in counts.items() if count >= least]
    return {name: tuple(one.get(name) for one in each) for name in names}


def _described(result: Result) -> dict[str, Any]:
    """Every setting that has an effect, and what the run was made with.

    Images and weights stand by what they are called and their digest.
    """
    own = [getattr(result, field.name) for field in fields(result)]
    described: dict[str, Any] = {}
    for settings in (one for one in own if isinstance(one, Settings)):
        described |= settings.effective()
    for name in _ORIGIN:
        value = result.provenance.get(name)
        if isinstance(value, Mapping) and {"source", "digest"} <= value.keys():
            described[f"{name} (digest)"] = f"{value['source']} ({str(value['digest'])[:12]})"
        elif isinstance(value, str):
            described[f"{name} (used)"] = value
    for name, version in (result.provenance.get("versions") or {}).items():
        described[f"{name} (version)"] = version
    return described


def _differences(
    run: Result, values: Mapping[str, Value], first: Result, others: Mapping[str, Value]
) -> Iterator[tuple[str, Estimate]]:
    """Each number of a run minus that of the first, by name."""
    by_answers = _accuracy_differences(run, first)
    for name, value in values.items():
        base = others.get(name)
        if name in by_answers:
            yield name, by_answers[name]
        elif isinstance(value, Estimate) and isinstance(base, Estimate):
            apart = Estimate(value.value - base.value)
            yield name, combined((1, value), (-1, base)) if value.level == base.level else apart
        elif not any(isinstance(one, str | bool | None) for one in (value, base)):
            own, other = (one.value if isinstance(one, Estimate) else one for one in (value, base))
            yield name, Estimate(own - other)  # type: ignore[operator]


def _accuracy_differences(run: Result, first: Result) -> dict[str, Estimate]:
    """The differences of accuracies: in pairs where enough pictures are in both tests."""
    ours, theirs = run.answers, first.answers
    if not ours or not theirs:
        return {}
    digests = [(each.provenance.get("images") or {}).get("digest") for each in (run, first)]
    one_set = digests[0] is not None and digests[0] == digests[1]
    by_picture, other_by_picture = (_by_picture(of, names=one_set) for of in (ours, theirs))
    both = [picture for picture in by_picture if picture in other_by_picture]
    if len(both) >= max(2, _SHARED * max(len(ours), len(theirs))):
        right, other = (
            [answers[picture].right for picture in both]
            for answers in (by_picture, other_by_picture)
        )
        labels = [by_picture[picture].label for picture in both]
        apart = {
            ACCURACY: paired_difference(right, other),
            BALANCED: stratified_difference(right, other, labels),
        }
        how = "pictures that both tested"
        return {
            name: replace(one.per_cent, cases=len(both), how=how) for name, one in apart.items()
        }
    shares = [proportion(sum(each.right for each in side), len(side)) for side in (ours, theirs)]
    return {
        ACCURACY: combined((1, shares[0]), (-1, shares[1])).per_cent,
        BALANCED: weighted_proportions(*_recalls(ours), *_recalls(theirs, sign=-1)).per_cent,
    }


def _by_picture(answers: Sequence[Answer], *, names: bool) -> dict[tuple[str, str, int], Answer]:
    """Answers by the content of the picture, or by its name, its class, and which copy it is."""
    by_picture: dict[tuple[str, str, int], Answer] = {}
    copies = Counter[tuple[str, str]]()
    for answer in answers:
        key = answer.digest or (answer.image if names else ""), answer.label
        if key[0]:
            by_picture[*key, copies[key]] = answer
            copies[key] += 1
    return by_picture


def _recalls(answers: Sequence[Answer], sign: int = 1) -> list[tuple[float, int, int]]:
    """The classes as terms of a balanced accuracy: a weight, right answers, and answers."""
    by_class: dict[str, list[bool]] = {}
    for answer in answers:
        by_class.setdefault(answer.label, []).append(answer.right)
    weight = sign / len(by_class)
    return [(weight, sum(right), len(right)) for right in by_class.values()]


def _plain(value: Value) -> Any:
    """A value as JSON has it."""
    if not isinstance(value, Estimate):
        return to_json(value)
    return to_json({name: getattr(value, name) for name in ("value", "interval", "level")})


def _shown(value: object) -> Cell:
    """A setting or a result as it is shown."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    plain = isinstance(value, int | float | Estimate) and not isinstance(value, bool)
    return value if plain or value is None else str(value)  # type: ignore[return-value]


def _place_of(run: Result) -> str:
    return str(run.folder) if run.kept else "without a folder"

"""Runs beside each other: settings that differ, results, and their differences with intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.codec import to_json
from asvit.core.console import number, quantity
from asvit.core.estimates import Estimate
from asvit.core.results import NO_FOLDER, Result
from asvit.core.settings import Settings
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.runs.differences import ACCURACY, BALANCED, Difference, Value, differences, values_of
from asvit.runs.reporting import kind_of, result_in
from asvit.use.architectures import run_folder
from proxies.text import one_line

if TYPE_CHECKING:
    from pandas import DataFrame

#: Provenance that may differ.
_ORIGIN = ("images", "weights", "device")

SCHEMA_VERSION = 1


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
        return pd.DataFrame(columns, index=list(map(_name, self.runs)))

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
            "results": {
                name: [_plain(value) for value in values] for name, values in self.results.items()
            },
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
        numbers = [str(place) for place in range(1, len(self.runs) + 1)]
        for place, run in enumerate(self.runs, 1):
            yield f"{place}: {run.noun} {_name(run)}"
        settings: list[list[Cell]] = [
            [name, *map(_words, values)] for name, values in self.settings.items()
        ]
        if settings:
            yield Table(["setting", *numbers], settings, "Settings that differ")
        else:
            alike = len({run.kind for run in self.runs}) == 1
            yield "no settings differ" if alike else "no settings that all have differ"
        shown = [name for name, values in self.results.items() if _differs(values)]
        columns = [f"{place} − 1" for place in numbers[1:]]
        rows: list[list[Cell]] = [
            [
                name.replace("_", " "),
                *map(_cell, self.results[name]),
                *(self._difference(name, place) for place in range(2, len(self.runs) + 1)),
            ]
            for name in shown
        ]
        if rows:
            yield Table(["", *numbers, *columns], rows, "Results")
        same = len(self.results) - len(shown)
        equal = f"{quantity(same, 'more result')} {'is' if same == 1 else 'are'} the same; "
        yield f"{equal * bool(same)}intervals are of 95 % unless they say otherwise"
        yield from self._notes()

    def _difference(self, name: str, place: int) -> Cell:
        for each in self.differences:
            if (each.measure, each.run) == (name, place):
                found = each.estimate
                if math.isfinite(found.low):
                    return replace(found, digits=_digits(name), sign="+")
                return f"{'+' * (found.value >= 0)}{number(found.value)}"
        return None

    def _notes(self) -> Iterator[str]:
        """What accuracies tell little, and how the differences of each run came about."""
        for place, run in enumerate(self.runs, 1):
            if _own_settings(run).get("train_on_validation"):
                yield f"{place}: was trained on its validation pictures, too"
        for place in range(2, len(self.runs) + 1):
            own = [each for each in self.differences if each.run == place]
            known = [each for each in own if math.isfinite(each.estimate.low)]
            pairs: dict[tuple[int, str], list[Difference]] = {}
            for each in known:
                pairs.setdefault((each.estimate.cases, each.estimate.how), []).append(each)
            for (cases, what), group in pairs.items():
                names = one_line(", ".join(each.measure.replace("_", " ") for each in group))
                how = "as of independent samples, from the interval of each"
                if cases:
                    how = f"in pairs on {cases:,} {what}"
                tests = [
                    f"McNemar's p of {each.measure.replace('_', ' ')} {each.estimate.p:.3g}"
                    for each in group
                    if not math.isnan(each.estimate.p)
                ]
                yield f"{place} − 1: {names}: {'; '.join([how, *tests])}"
            if len(known) < len(own):
                which = "others" if known else "all"
                yield (
                    f"{place} − 1: {which} are single values; by how much another seed would "
                    "change them is not known"
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
    values = [values_of(result) for result in results]
    alone = 1 if len({type(result) for result in results}) > 1 else 0
    counts = Counter(name for each in values for name in each)
    names = [name for name, times in counts.items() if times > alone]
    first, *others = zip(results, values, strict=True)
    apart = [
        difference
        for place, other in enumerate(others, 2)
        for difference in differences(place, other, first)
        if not math.isnan(difference.estimate.value)
    ]
    return Comparison(
        runs=tuple(results),
        settings=_settings(results),
        results={name: tuple(each.get(name) for each in values) for name in names},
        differences=tuple(apart),
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


def _settings(results: Sequence[Result]) -> dict[str, tuple[Any, ...]]:
    """Settings and origins that differ; those of one kind alone are left out among several."""
    every = [{**_own_settings(result), **_origin(result)} for result in results]
    several = len({type(result) for result in results}) > 1
    names = dict.fromkeys(name for each in every for name in each)
    values = {name: tuple(each.get(name) for each in every) for name in names}
    return {
        name: of
        for name, of in values.items()
        if any(value != of[0] for value in of)
        and not (several and any(name not in each for each in every))
    }


def _own_settings(result: Result) -> dict[str, Any]:
    """Every setting of a run that has an effect."""
    own = [getattr(result, field.name) for field in fields(result)]
    return {
        name: value
        for each in own
        if isinstance(each, Settings)
        for name, value in each.effective().items()
    }


def _origin(result: Result) -> dict[str, Any]:
    """Images, device and versions: images and weights by what they are called and their digest."""
    origin: dict[str, Any] = {}
    for name in _ORIGIN:
        value = result.provenance.get(name)
        if isinstance(value, Mapping) and {"source", "digest"} <= value.keys():
            origin[f"{name} (digest)"] = f"{value['source']} ({str(value['digest'])[:12]})"
        elif isinstance(value, str):
            origin[f"{name} (used)"] = value
    versions = result.provenance.get("versions") or {}
    return {**origin, **{f"{name} (version)": version for name, version in versions.items()}}


def _differs(values: Sequence[Value]) -> bool:
    """Whether any of the runs has another value, or the values have intervals."""
    return any(value != values[0] or isinstance(value, Estimate) for value in values)


def _plain(value: Value) -> Any:
    """A value as JSON has it."""
    if not isinstance(value, Estimate):
        return to_json(value)
    return to_json({name: getattr(value, name) for name in ("value", "interval", "level")})


def _cell(value: Value) -> Cell:
    return _words(value) if isinstance(value, bool) else value


def _words(value: object) -> Cell:
    """A setting as it is shown."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _digits(name: str) -> int:
    return 1 if name in (ACCURACY, BALANCED) else 3


def _name(run: Result) -> str:
    return str(run.folder) if run.folder != NO_FOLDER else "without a folder"

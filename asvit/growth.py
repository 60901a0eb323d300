"""A scaling: what it is asked to do, what it has measured so far, and what it ended in.

The growth itself is the package ``scaling``, which knows no architecture by name.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Literal

from asvit.core.codec import to_json
from asvit.core.journal import Journal
from asvit.core.results import Result
from asvit.core.settings import (
    MeasuringSettings,
    Presets,
    fields_of,
    presets_with,
    proxy_names,
    setting,
)
from asvit.core.versions import measure_versions
from asvit.reference.findings import Reliability
from proxies import Score
from proxies.latency import CAREFUL, Latency
from scaling import Budget, Row, Shape, parse_budgets
from scaling.rules import RULES
from scaling.shapes import shape_of

_MEASURES = "measures"  # the rule that is none
_PAPERS = "depth,width"  # what the paper grows


def parse_share(text: str) -> float:
    """A share written as ``2%``, ``0.02`` or ``1/50``."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        share = float(Fraction(number.strip())) / (100 if percent else 1)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError(f"{text!r} is not a share such as 2%, 0.02 or 1/4") from None
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is not above 0 and at most 1")
    return share


def _budgets(given: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(map(str, parse_budgets(given)))


@dataclass(frozen=True)
class ScaleSettings(MeasuringSettings):
    """Settings of a scaling. Two runs with equal settings give equal series."""

    presets: ClassVar[Presets] = presets_with(quick={"image_size": 64, "repeats": 3, "images": 8})

    architecture: str = setting(
        ...,
        "Architecture to start from, or the folder of a run that ended in one; its depths and "
        "width are the start.",
        name="arch",
        metavar="ARCH",
        shown="the result of the newest search in runs",
    )
    budgets: tuple[str, ...] = setting(
        ("88M",),
        "Where to end: parameters (88M), multiply-adds (22G) or the time of a forward pass "
        "(12ms); or several, as 30M,50M,88M.",
        name="budget",
        metavar="BUDGET",
        convert=_budgets,
        parse=str,
    )
    rule: str = setting(
        _MEASURES,
        "Grow by measures, or by a rule that measures nothing on its way: "
        f"{', '.join(RULES)} (docs/scaling.md).",
        choices=(_MEASURES, *RULES),
    )
    grow: str = setting(
        _PAPERS,
        "What grows by measures: the paper's depth and width, or the expansions of feed-forward "
        "parts as well.",
        choices=(_PAPERS, f"{_PAPERS},expansion"),
    )
    stop_within: float = setting(
        0.02,
        "How near the end must come to the largest budget.",
        metavar="SHARE",
        parse=parse_share,
        shown="2%",
        above=0,
        at_most=1,
    )
    ratio: float = setting(
        0.25,
        "Width to measure at over full width.",
        metavar="SHARE",
        parse=parse_share,
        above=0,
        at_most=1,
    )
    width_multiple: int = setting(
        1, "Round widths to multiples of N; 4 is what the released code does.", at_least=1
    )
    count_size: int = setting(
        224, "Side of the images that multiply-adds are counted for, in pixels.", at_least=1
    )
    classes: int = setting(
        1000,
        "Classes that sizes are counted with, as a training will build them.",
        shown="those of --data, else 1000",
        at_least=1,
    )
    proxies: tuple[str, ...] = setting(
        ("length_distortion", "ntk_condition_number"),
        "Measure that ranks candidates; repeat it or separate names by commas.",
        name="proxy",
        metavar="NAME",
        convert=proxy_names,
        complete="proxies:PROXIES",
    )

    latency_batch: int = setting(
        1, "Images of the pass that a time as budget is of; they are of --count-size.", at_least=1
    )
    latency_runtime: Literal["eager", "compile", "onnx"] = setting(
        "eager", "What runs that pass.", choices=("eager", "compile", "onnx")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by_hand and self.grow != _PAPERS:
            raise ValueError(f"rule {self.rule!r} says what grows; leave out grow={self.grow!r}")

    @cached_property
    def limits(self) -> tuple[Budget, ...]:
        """The budgets, from small to large."""
        return parse_budgets(self.budgets)

    @property
    def targets(self) -> tuple[Budget, ...]:
        """What growth ends at for each of the limits: a little less of a time, as times vary."""
        if not self.timed:
            return self.limits
        return tuple(
            replace(one, amount=max(1, math.floor(CAREFUL * one.amount))) for one in self.limits
        )

    @property
    def timed(self) -> bool:
        """Whether the budgets are times."""
        return self.limits[0].unit == "latency"

    @property
    def by_hand(self) -> str | None:
        """The rule in place of measures; None where these choose."""
        return None if self.rule == _MEASURES else self.rule

    @property
    def grows_expansions(self) -> bool:
        """Whether expansions grow as well."""
        return RULES[self.by_hand].expansions if self.by_hand else self.grow != _PAPERS


@dataclass(frozen=True)
class Timed:
    """How long a forward pass of an architecture takes."""

    architecture: str
    latency: Latency


@dataclass(frozen=True)
class Measured:
    """The scores of a shape."""

    depths: tuple[int, ...]
    width: int
    expansions: tuple[int, ...]
    scores: Mapping[str, Score]


class GrowthJournal(Journal[ScaleSettings]):
    """The scores that a scaling has measured; looked up as :func:`scaling.grow` does.

    Those of a measure whose code has changed since, by the versions before them, are left out.
    """

    kind = "scale"
    noun = "scaling"
    settings_type = ScaleSettings
    record_types = (Measured, Timed)

    def __init__(self, *args: Any) -> None:
        self._scores: dict[Shape, Mapping[str, Score]] = {}
        self.latencies: dict[str, Latency] = {}  # by architecture
        super().__init__(*args)

    def get(self, shape: Shape, /) -> Mapping[str, Score] | None:
        """The scores of ``shape`` as it was measured; None while they are unknown."""
        return self._scores.get(shape)

    def __setitem__(self, shape: Shape, scores: Mapping[str, Score], /) -> None:
        """Keep the scores of ``shape``."""
        self.add_record(Measured(shape.depths, shape.width, shape.expansions, scores))

    def __len__(self) -> int:
        """Number of shapes with scores."""
        return len(self._scores)

    def note(self, record: Measured | Timed) -> None:
        """Take note of scores, if they are of the present code, or of a time."""
        if isinstance(record, Timed):
            self.latencies[record.architecture] = record.latency
        elif measure_versions(record.scores, self.versions or {}) == measure_versions(
            record.scores
        ):
            shape = shape_of(record.depths, record.width, record.expansions)
            self._scores[shape] = record.scores


_MODEL = ("architecture", "params", "macs")


@dataclass(frozen=True, kw_only=True)
class ScaleResult(Result):
    """What a scaling ended in.

    Example:
        >>> result = asvit.run_scaling(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", budget="3M", stop_within=0.1,
        ...     image_size=32, images=2, points=3, repeats=1, out="scaling",
        ... )
        >>> [row.step for row in result.series][0]
        0
    """

    kind = "scale"
    noun = "scaling"
    provenance_keys = ("seed_run", "images", "device", "versions", "command")
    hidden = ("series", "candidates")
    rows_in = "steps"

    settings: ScaleSettings
    space: str  #: space of the architectures
    series: Sequence[Row]  #: one row a step, the start first; parameters increase strictly
    candidates: Sequence[Row]  #: one row a candidate, step by step; the start is its own
    reason: str  #: why the end is not as near to the largest budget as asked; empty where it is
    #: How well the measures rank a reference table, where one was asked for.
    reliability: Reliability | None = None
    #: Time of a forward pass of the last model, taken again in a process of its own, where the
    #: budgets are times.
    latency: Latency | None = None

    @property
    def reached(self) -> bool:
        """Whether the end is as near to the largest budget as asked."""
        return not self.reason

    def nearest(self) -> list[tuple[Budget, Row]]:
        """The model of the series nearest to each budget; the smaller of two equally near."""
        each = zip(self.settings.limits, self.settings.targets, strict=True)
        return [
            (budget, min(self.series, key=lambda row: abs(target.gap(row))))
            for budget, target in each
        ]

    def facts(self) -> dict[str, Any]:
        """As the base has them, with the measures of the last model."""
        return {**super().facts(), **self.series[-1].values}

    def derived(self) -> Mapping[str, Any]:
        """The last model, the nearest to each budget, and the steps with their candidates."""
        last = self.series[-1]
        return {
            "seed_architecture": self.settings.architecture,
            "budget": self.settings.budgets[-1],
            "reached": self.reached,
            **{name: getattr(last, name) for name in _MODEL},
            "nearest": [
                {
                    "budget": str(budget),
                    **{name: getattr(row, name) for name in ("step", *_MODEL)},
                    "below": budget.gap(row),
                }
                for budget, row in self.nearest()
            ],
            "steps": [
                {
                    **_columns(row),
                    "candidates": [
                        _columns(one)
                        for one in self.candidates
                        if one.step == row.step and row.kind != "start"
                    ],
                }
                for row in self.series
            ],
        }

    @classmethod
    def unfold(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """The steps as the series and the candidates."""
        series = [_nested(step) for step in content["steps"]]
        candidates = [
            one
            for step, row in zip(content["steps"], series, strict=True)
            for one in ([_nested(one) for one in step["candidates"]] or [row])
        ]
        if len({frozenset(row["values"]) for row in (*series, *candidates)}) > 1:
            raise ValueError("its steps and candidates differ in their columns")
        return {**content, "series": series, "candidates": candidates}


def _columns(row: Row) -> dict[str, Any]:
    """A row as in the tables: its measures beside the other columns."""
    content = to_json(row)
    measures = content.pop("values")
    return {**content, **measures}


def _nested(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Undo :func:`_columns`."""
    own = {*fields_of(Row), "candidates"}
    values = {k: math.nan if v is None else v for k, v in columns.items() if k not in own}
    return {**columns, "values": values}

"""What measuring an architecture gave, as the study keeps it, and as a row of ``trials.csv``."""

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from asvit.core.codec import Nullable
from asvit.core.estimates import Estimate, Interval
from asvit.core.files import read_text, write_text
from asvit.search.settings import ACCURACY
from proxies.latency import Latency
from proxies.messages import fault
from proxies.registry import Score
from proxies.tables import csv_text, read_table
from proxies.text import one_line, shown

State = Literal["complete", "failed"]
#: Why a network is in a search of several families: it was made by hand or drawn at random, both
#: whatever the results were, or chosen by the controller.
Origin = Literal["", "by hand", "random", "chosen"]

LEAST_JUDGED = 8  # architectures, of which a ranking can be judged
_BEFORE = ["number", "architecture", "params", "macs"]
_AFTER = ["reward", "entropy", "state", "reason"]
_OF_FAMILIES = ["family", "origin"]  # behind them, where there are several
_BELOW = 2**63  # parameters and multiply-adds


@dataclass(frozen=True)
class Measurement:
    """Size and measures of one architecture."""

    params: int
    macs: int  #: multiply-adds of one image
    values: Mapping[str, Nullable]  #: measure to value; NaN where it failed
    reasons: Mapping[str, str]  #: measure to why it failed, for those that did

    @classmethod
    def from_scores(cls, params: int, macs: int, scores: Mapping[str, Score]) -> Self:
        """Take the mean values of ``scores``; a value that is not finite has failed."""
        failed = {name: score for name, score in scores.items() if not math.isfinite(score.value)}
        values = {
            n: math.nan if n in failed else float(score.value) for n, score in scores.items()
        }
        reasons = {
            name: " ".join((score.reason or f"the value is {score.value}").split())
            for name, score in failed.items()
        }
        return cls(params, macs, values, reasons)

    @property
    def reason(self) -> str:
        """Every failure in one line; empty if there was none."""
        return "; ".join(f"{name}: {why}" for name, why in self.reasons.items())


@dataclass(frozen=True)
class Confirmed:
    """Accuracy of a finalist in trainings with fresh seeds, per cent."""

    mean: Nullable  #: over these trainings
    low: Nullable  #: lower end of the 90 % interval of the accuracy averaged over training seeds
    high: Nullable  #: upper end
    trainings: int  #: how many there were

    @property
    def estimate(self) -> Estimate:
        """The mean with its interval."""
        return Estimate(self.mean, self.low, self.high, digits=1)


@dataclass(frozen=True)
class HeldOut:
    """An architecture, as trained and as predicted from others alone."""

    architecture: str  #: text of the network that was trained
    trainings: int  #: how many there were
    accuracy: Nullable  #: their mean, per cent
    predicted: Nullable  #: prediction by predictors that were not shown them, per cent
    std: Nullable  #: standard deviation of the prediction


@dataclass(frozen=True)
class PredictorCheck:
    """How far a predictor can be trusted, on the trainings of its own search.

    A quarter of the architectures is held out, again and again, and predicted from the others.
    """

    #: Share of pairs of different accuracy, held out together, that are predicted in the right
    #: order, minus the share in the wrong one: Kendall's tau; NaN with too few architectures, or
    #: where all have the same accuracy.
    tau: Nullable
    tau_interval: Interval  #: its bootstrap interval over architectures
    rows: Sequence[HeldOut]  #: the architectures

    @property
    def in_words(self) -> str:
        """A line for people."""
        if math.isnan(self.tau) and self.rows:
            return (
                "all architectures have the same accuracy: there is nothing to tell by how far "
                "the predictor can be trusted"
            )
        if math.isnan(self.tau):
            return (
                f"fewer than {LEAST_JUDGED} architectures were trained without a failure: too few "
                "to tell how far the predictor can be trusted"
            )
        low, high = self.tau_interval
        return (
            f"the predictor ranks architectures that it was not shown with tau {self.tau:.2f} "
            f"[{low:.2f}, {high:.2f}] (of {len(self.rows)} architectures, a quarter held out)"
        )


@dataclass(frozen=True)
class Finalist:
    """An architecture that the search may hand on."""

    architecture: str  #: its text
    #: Place of its first draw among the measured trials, from 0; None if it was never drawn.
    number: int | None
    likeliest: bool  #: whether it is the policy's likeliest architecture
    params: int
    macs: int  #: multiply-adds of one image
    #: Measure to value, as the search measured it and ``trials.csv`` has it; NaN where it failed.
    values: Mapping[str, Nullable]
    #: The same on fresh networks; empty where nothing was measured again.
    again: Mapping[str, Nullable]
    reason: str  #: why a measure failed, else empty
    trainings: int = 0  #: how many there were of it, of whose accuracies ``values`` has the mean
    #: Its expected accuracy in per cent, by a search with a predictor. Of those with the highest
    #: predictions it is too high on average.
    predicted: Nullable = math.nan
    confirmed: Confirmed | None = None  #: its accuracy in fresh trainings, where it had some
    latency: Latency | None = None  #: time of a forward pass, where it was limited
    family: str = ""  #: name of its space, in a search of several
    by_hand: bool = False  #: whether it is the network that is made of its family by hand

    @property
    def family_in_words(self) -> str:
        """Its family, and whether it is made by hand."""
        return self.family + ", by hand" * self.by_hand

    @property
    def expected(self) -> float:
        """Its predicted accuracy, or its mean without a predictor, by a search that trains."""
        return self.predicted if math.isfinite(self.predicted) else self.values[ACCURACY]

    @property
    def origin(self) -> str:
        """Where it comes from, in words; steps count from 0, as in every table."""
        steps = [] if self.number is None else [f"step {self.number}"]
        return ", ".join(["policy"] * self.likeliest + steps)


# Measures the architecture of a text; equal texts give equal measurements. Where it stands for
# trainings, it may take a ``seed``, too.
Evaluate = Callable[..., Measurement]
# Measures several architectures, in their order; the first are ready before the last are begun.
# Where they are trained, it takes ``seeds``, too.
EvaluateAll = Callable[..., Iterable[Measurement]]


def takes_seed(evaluate: Evaluate) -> bool:
    """Whether a function of the user's has a parameter ``seed``."""
    try:
        return "seed" in inspect.signature(evaluate).parameters
    except (TypeError, ValueError):  # of some compiled functions
        return False


def evaluated(
    evaluate: Evaluate, text: str, names: Sequence[str], **options: object
) -> Measurement:
    """What a function of the user's makes of the architecture of a text.

    Anything that it raises, but for an interrupt, is why the architecture failed, and so is
    anything else than a number that it gives for one of the measures ``names``.
    """
    from proxies.evaluation import FAILURES  # torch, which rows alone do not need

    try:
        measurement = evaluate(text, **options)
        if not isinstance(measurement, Measurement):
            raise ValueError(f"evaluate gave {shown(measurement)}, not a Measurement")
        params, macs = _size(measurement.params), _size(measurement.macs)
        readings = {
            name: _reading(measurement.values[name])
            for name in names
            if name in measurement.values
        }
        reasons = {str(name): one_line(str(why)) for name, why in measurement.reasons.items()}
    except FAILURES as error:
        return Measurement(
            0, 0, dict.fromkeys(names, math.nan), dict.fromkeys(names, fault(error))
        )
    readings |= {name: "evaluate gave no value of it" for name in names if name not in readings}
    reasons = {name: why for name, why in readings.items() if isinstance(why, str)} | reasons
    values = {n: math.nan if isinstance(readings[n], str) else float(readings[n]) for n in names}
    return Measurement(params, macs, values, reasons)


def _size(count: object) -> int:
    """Parameters or multiply-adds."""
    number = operator.index(count)  # type: ignore[arg-type]  # or a TypeError
    if not 0 <= number < _BELOW:
        raise ValueError(f"evaluate gave the size {shown(number)}; use a whole number from 0")
    return number


def _reading(value: Any) -> float | str:
    """The value of a measure, or why it is none."""
    from proxies.evaluation import FAILURES, checked_value

    try:
        reading = checked_value(value)
        return (
            "the value is nan" if not isinstance(reading, str) and math.isnan(reading) else reading
        )
    except FAILURES:
        return f"evaluate gave {shown(value)}, not a number"


@dataclass(frozen=True)
class TrialRow:
    """One measured architecture."""

    number: int  #: place among the measured trials, from 0
    architecture: str  #: its text
    params: int
    macs: int  #: multiply-adds of one image
    values: Mapping[str, Nullable]  #: measure to value; NaN where it failed
    #: Windowed change of the objectives, dimensionless; a failure counts in it as the worst value
    #: seen so far.
    reward: Nullable
    entropy: Nullable  #: joint entropy in nats of the policy that drew it; NaN without a policy
    state: State  #: ``"failed"`` if any of its measures failed
    reason: str  #: why, else empty
    family: str = ""  #: name of its space, in a search of several
    origin: Origin = ""  #: why it is there, in a search of several


Trials = Sequence[TrialRow]


def without_sizes(measures: Iterable[str]) -> list[str]:
    """The measures that need a column of their own: all but params and macs."""
    return [name for name in measures if name not in _BEFORE]


def write_trials(path: Path, rows: Sequence[TrialRow], measures: Sequence[str]) -> None:
    """Write ``rows`` to the CSV file ``path`` as a whole or not at all.

    Columns of measures are in the order of ``measures``. Those that are the size of the
    architecture have their column anyway.
    """
    columns, families = without_sizes(measures), any(row.family for row in rows)
    last = [*_AFTER, *(_OF_FAMILIES if families else ())]
    cells: list[list[object]] = [[*_BEFORE, *columns, *last]]
    for row in rows:
        values = [row.values[name] for name in columns]
        cells.append(
            [row.number, row.architecture, row.params, row.macs]
            + [repr(float(v)) for v in (*values, row.reward, row.entropy)]
            + [row.state, row.reason]
            + ([row.family, row.origin] if families else [])
        )
    write_text(path, csv_text(cells))


def read_trials(path: Path, measures: Sequence[str] = ()) -> list[TrialRow]:
    """Read the rows of the CSV file ``path``.

    ``measures`` are their names, where they are known: params and macs are columns of every table,
    whether they were among the measures or not.
    """
    text = read_text(path)
    families = text.partition("\n")[0].rstrip("\r").endswith(",".join(_OF_FAMILIES))
    last = [*_AFTER, *(_OF_FAMILIES if families else ())]

    def read(header: list[str], cells: list[str]) -> TrialRow:
        number, architecture, params, macs, *numbers = cells[: -len(last)]
        reward, entropy, state, reason, *of_family = cells[-len(last) :]
        if state not in ("complete", "failed"):
            raise ValueError(f"state must be 'complete' or 'failed', got {shown(state)}")
        family, origin = of_family or ("", "")
        if origin not in get_args(Origin):
            raise ValueError(f"origin must be one of {get_args(Origin)}, got {shown(origin)}")
        names = header[len(_BEFORE) : -len(last)]
        measured = dict(zip(names, map(float, numbers), strict=True))
        sizes = {"params": float(params), "macs": float(macs)}
        measured |= {name: size for name, size in sizes.items() if name in measures}
        outcome: State = "failed" if state == "failed" else "complete"
        cell = int(number), architecture, int(params), int(macs)
        rewards = float(reward), float(entropy)
        return TrialRow(*cell, measured, *rewards, outcome, reason, family, cast("Origin", origin))

    try:
        return read_table(text, "trials", _BEFORE, last, read)[1]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

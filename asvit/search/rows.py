"""What measuring an architecture gave, as the study keeps it, and as a row of ``trials.csv``."""

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, cast, get_args

from asvit.core.codec import Nullable
from asvit.core.estimates import Estimate, Interval
from asvit.core.files import read_text, write_text
from asvit.core.tables import csv_text, read_table
from asvit.measuring.latency import Latency
from asvit.search.settings import ACCURACY
from proxies.messages import fault
from proxies.registry import Score
from proxies.text import one_line, shown

State = Literal["complete", "failed"]
#: Why a network is in a search of several families: it was made by hand or drawn at random, both
#: whatever the results were, or chosen by the controller.
Origin = Literal["", "by hand", "random", "chosen"]

LEAST_JUDGED = 8  # architectures, of which a ranking can be judged
_BEFORE = ["number", "architecture", "params", "macs"]
_AFTER = ["reward", "entropy", "state", "reason"]
_OF_FAMILIES = ["family", "origin"]  # behind them, where there are several


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
    anything that it gives but a Measurement with a number for each of the measures ``names``.
    """
    from proxies.evaluation import FAILURES, checked_value  # torch, which rows alone do not need

    try:
        measurement = evaluate(text, **options)
        params, macs = operator.index(measurement.params), operator.index(measurement.macs)
        values = {name: float(measurement.values[name]) for name in names}
        reasons = {
            name: checked if isinstance(checked, str) else f"the value is {checked}"
            for name, checked in ((name, checked_value(values[name])) for name in names)
            if isinstance(checked, str) or math.isnan(checked)
        }
        reasons |= {str(name): one_line(str(why)) for name, why in measurement.reasons.items()}
    except FAILURES as error:
        none = dict.fromkeys(names, math.nan)
        return Measurement(0, 0, none, dict.fromkeys(names, fault(error)))
    valid = {name: math.nan if name in reasons else value for name, value in values.items()}
    return Measurement(params, macs, valid, reasons)


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
    columns = without_sizes(measures)
    last = [*_AFTER, *(_OF_FAMILIES if any(row.family for row in rows) else ())]
    cells: list[list[object]] = [[*_BEFORE, *columns, *last]]
    for row in rows:
        numbers = {**row.values, "reward": row.reward, "entropy": row.entropy}
        own = {**vars(row), **{name: repr(float(value)) for name, value in numbers.items()}}
        sizes = [row.number, row.architecture, row.params, row.macs]
        cells.append([*sizes, *(own[name] for name in (*columns, *last))])
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
        own = dict(zip(header, cells, strict=True))
        sizes = [name for name in ("params", "macs") if name in measures]
        names = [*header[len(_BEFORE) : -len(last)], *sizes]
        for name, allowed in (("state", get_args(State)), ("origin", get_args(Origin))):
            if name in own and own[name] not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {shown(own[name])}")
        return TrialRow(
            number=int(own["number"]),
            architecture=own["architecture"],
            params=int(own["params"]),
            macs=int(own["macs"]),
            values={name: float(own[name]) for name in names},
            reward=float(own["reward"]),
            entropy=float(own["entropy"]),
            state=cast("State", own["state"]),
            reason=own["reason"],
            family=own.get("family", ""),
            origin=cast("Origin", own.get("origin", "")),
        )

    try:
        return read_table(text, "trials", _BEFORE, last, read)[1]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

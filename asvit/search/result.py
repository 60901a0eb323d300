"""The result of a search."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from asvit.core.codec import Nullable
from asvit.core.estimates import Estimate, Interval
from asvit.core.results import Result
from asvit.core.run_files import TRIALS
from asvit.measuring.latency import Latency
from asvit.reference.findings import Reliability
from asvit.search.rows import TrialRow, read_trials
from asvit.search.settings import ACCURACY, SearchSettings

_LEVEL = 0.9  # of the intervals of fresh trainings


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
class PredictorCheck:
    """How far a predictor can be trusted, on the trainings of its own search.

    A quarter of the architectures is held out, again and again, and predicted from the others.
    """

    tau: Nullable  #: Kendall's, of pairs that are held out together; NaN where they tell nothing
    tau_interval: Interval  #: its bootstrap interval over architectures
    architectures: int = 0  #: how many there were; 0 for too few

    @property
    def in_words(self) -> str:
        """A line for people."""
        if math.isnan(self.tau):
            few = "too few architectures were trained without a failure"
            why = "all architectures have the same accuracy" if self.architectures else few
            return f"{why} to tell how far the predictor can be trusted"
        low, high = self.tau_interval
        return (
            f"the predictor ranks architectures that it was not shown with tau {self.tau:.2f} "
            f"[{low:.2f}, {high:.2f}] (of {self.architectures} architectures, a quarter held out)"
        )


@dataclass(frozen=True)
class Finalist:
    """An architecture that the search may hand on."""

    architecture: str  #: its text
    number: int | None  #: of its first draw among the measured trials; None if there was none
    likeliest: bool  #: whether it is the policy's likeliest architecture
    params: int
    macs: int  #: multiply-adds of one image
    values: Mapping[str, Nullable]  #: measure to value, as in ``trials.csv``
    again: Mapping[str, Nullable]  #: the same on fresh networks; empty without
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


@dataclass(frozen=True)
class Entropy:
    """Joint entropy in nats of the policy that drew architectures; NaN without a policy."""

    first: Nullable
    last: Nullable


@dataclass(frozen=True, kw_only=True)
class SearchResult(Result):
    """What a search ended in.

    Example:
        >>> result = asvit.run_search(
        ...     steps=2, image_size=32, images=2, points=3, repeats=1, recheck=1, out="search"
        ... )
        >>> len(result.to_dataframe())
        2
    """

    kind = "search"
    noun = "search"
    rows_in = "trials"

    settings: SearchSettings
    #: Text of the finalist that the search hands on, as the settings' ``pick`` says.
    seed_architecture: str
    params: int  #: its parameters
    macs: int  #: its multiply-adds for one image
    #: Its measures by name, as the search measured it; NaN where one failed.
    values: Mapping[str, Nullable]
    reason: str  #: why a measure of it failed, else empty
    steps: int  #: architectures measured, or trainings of those drawn
    failures: int  #: architectures that failed
    entropy: Entropy  #: of the policy that drew them
    #: The best measured architectures, those on the front of the objectives first.
    front: Sequence[TrialRow]
    #: What it could have been, with what measuring them again gave.
    finalists: Sequence[Finalist]
    #: How well the measures rank a reference table, where one was asked for.
    reliability: Reliability | None = None
    retrainings: int = 0  #: trainings of finalists with fresh seeds
    #: Accuracy of the seed in fresh trainings, by a search with enough of them.
    confirmed: Confirmed | None = None
    predictor: PredictorCheck | None = None  #: how far that predictor can be trusted
    latency: Latency | None = None  #: time of a forward pass of the seed, where it was limited

    @cached_property
    def trials(self) -> Sequence[TrialRow]:
        """The measured architectures in their order, as ``trials.csv`` has them."""
        path = self.folder / TRIALS
        rows = read_trials(path, self.settings.proxies)[: self.steps]
        if len(rows) < self.steps:
            raise ValueError(f"{path} has {len(rows)} of {self.steps} trials; restore it")
        return rows

    @property
    def seed_first(self) -> Sequence[Finalist]:
        """The finalists, the seed architecture before the others."""
        return sorted(self.finalists, key=lambda row: row.architecture != self.seed_architecture)

    @property
    def several_families(self) -> bool:
        """Whether it searched several families."""
        return any(finalist.family for finalist in self.finalists)

    @property
    def accuracies_in_words(self) -> str:
        """What the accuracies of a search by trainings mean, in a sentence."""
        high = "Means and predictions of the best are too high on average, as luck chose them, too"
        if self.confirmed is None:
            return f"{high}; with more trainings two finalists are trained again."
        return (
            f"{high}. Retrained: mean of {self.confirmed.trainings} trainings with fresh seeds, "
            "and the 90 % interval of the accuracy averaged over seeds."
        )

    @property
    def length_distortion(self) -> float:
        """Length distortion of the seed architecture; NaN if it failed or was not asked for."""
        return self.values.get("length_distortion", math.nan)

    @property
    def ntk_condition_number(self) -> float:
        """NTK condition number of the seed; NaN if it failed or was not asked for."""
        return self.values.get("ntk_condition_number", math.nan)

    def facts(self) -> dict[str, Any]:
        """As the base has them, with every measure of the seed."""
        return {**super().facts(), **self.values}

    def comparable(self) -> dict[str, Any]:
        """As the base has them, with the intervals of fresh trainings."""
        values = super().comparable()
        if (found := self.confirmed) is not None:
            values["confirmed.mean"] = Estimate(found.mean, found.low, found.high, level=_LEVEL)
            del values["confirmed.low"], values["confirmed.high"]
        return values

    def derived(self) -> Mapping[str, Any]:
        """What was searched, and the seed's main measures."""
        return {
            "space": self.settings.space,
            "controller": self.settings.controller,
            **({"trainings": self.steps + self.retrainings} if self.settings.trains else {}),
            "length_distortion": self.length_distortion,
            "ntk_condition_number": self.ntk_condition_number,
        }

"""How well measures rank accuracies: one table of findings, its order, verdicts and CSV."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from asvit.core.codec import Nullable
from asvit.core.estimates import Estimate, Interval
from asvit.core.tables import csv_text
from proxies.registry import Better

#: Start of the name of a predictor; the number of trainings follows.
PREDICTOR: Final = "predictor@"
#: The fewest networks that a predictor is fitted to.
LEAST_TRAININGS: Final = 5


@dataclass(frozen=True)
class Within:
    """Kendall's tau among pairs of rows of about the same size: in the same third by a count."""

    count: str  # name of the count that measures the size
    tau: Nullable  # tau-b of measure and accuracy over these pairs
    tau_interval: Interval  # its bootstrap interval
    rival: str  # the count with the highest such tau on the same rows; empty without one
    rival_tau: Nullable  # tau of the rival
    difference: Nullable  # ``tau`` minus ``rival_tau``
    difference_interval: Interval  # its interval over the same resamples


@dataclass(frozen=True)
class Finding:
    """How well a measure ranks a column of accuracies.

    Taus are of the oriented measure, so that positive is good. They are NaN, with a ``reason``, if
    the rows cannot be ranked.
    """

    # A measure, or several joined by ``+`` for the sum of their ranks; or :data:`PREDICTOR` and
    # the number of trainings that a predictor was fitted to. Empty for values without a name.
    measure: str
    target: str  # name of the accuracies
    better: Better  # direction of the measure
    trivial: bool  # whether it is a count, the baseline for every other measure
    n: int  # rows with both a value and an accuracy
    dropped: int  # rows with an accuracy, but without a finite value
    tau: Nullable  # Kendall's tau-b
    tau_interval: Interval  # its bootstrap interval
    rival: str  # the count with the highest tau on the same rows; empty without one
    difference: Nullable  # ``tau`` minus the tau of the rival
    # Its interval over the same resamples. The rival is chosen once, on all rows, which favours it
    # slightly.
    difference_interval: Interval
    # Tau among rows of about the same parameters, and of about the same multiply-adds, which
    # matters at a given size. Empty without these counts.
    within: tuple[Within, ...] = ()
    reason: str = ""  # why there are no taus; empty if there are

    @property
    def predicted(self) -> bool:
        """Whether the measure is a predictor, whose values differ from split to split."""
        return self.measure.startswith(PREDICTOR)


@dataclass(frozen=True)
class Reliability:
    """How well the measures of a run rank a reference table."""

    reference: str  # name of the table
    digest: str  # SHA-256 of its file
    target: str  # the accuracies
    description: str  # of the accuracies
    noise_ceiling: float | None  # τ between two training seeds; None where it is not known
    rows: int
    measures: Sequence[Finding]  # of the run's measures, and of the sum of their ranks
    best_count: Finding | None  # of the count that ranks best; None without one
    scores: str  # how the stored scores were measured


def estimates(rank: Finding | Within) -> tuple[Estimate, Estimate]:
    """Tau, and the difference to the best count's."""
    return (
        Estimate(rank.tau, *rank.tau_interval),
        Estimate(rank.difference, *rank.difference_interval, sign="+"),
    )


def highest(taus: Mapping[str, float]) -> str:
    """The name of the highest tau, the first among equals; empty if all are NaN."""
    ranked = {name: tau for name, tau in taus.items() if not math.isnan(tau)}
    return max(ranked, key=ranked.__getitem__, default="")


def by_size(findings: Sequence[Finding]) -> list[Finding]:
    """The findings of a target: counts first, then by tau among rows of about the same size."""

    def place(finding: Finding) -> tuple[bool, float]:
        taus = [part.tau for part in finding.within]
        return not finding.trivial, _from_best(sum(taus) / len(taus) if taus else math.nan)

    return sorted(findings, key=place)


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """The findings target by target; in each the counts first, then by tau from the best."""
    targets = list(dict.fromkeys(finding.target for finding in findings))

    def place(finding: Finding) -> tuple[int, bool, float]:
        return targets.index(finding.target), not finding.trivial, _from_best(finding.tau)

    return sorted(findings, key=place)


def _from_best(tau: float) -> float:
    return math.inf if math.isnan(tau) else -tau


def verdict(findings: Sequence[Finding]) -> str:
    """The conclusion from the findings of one target, in a sentence.

    The best count is the one that measures with a value of every row are compared with: sums of
    counts, and counts without a value of some rows, may have a higher tau.
    """
    bests = (row for row in findings if row.rival == row.measure and not row.dropped)
    best = next((row for row in bests if not math.isnan(row.tau)), None)
    if best is None:
        return "No count can be ranked by."
    start = f"The best count is {best.measure} with tau {best.tau:.3f};"
    better = [
        f"{row.measure} ({row.tau:.3f})"
        for row in findings
        if not row.trivial and row.difference_interval.low > 0
    ]
    meaning = "the 95 % interval of the difference is above 0"
    if not better:
        return f"{start} no measure ranks significantly better ({meaning} for none)."
    return f"{start} significantly better: {', '.join(better)} ({meaning})."


def to_csv(findings: Sequence[Finding]) -> str:
    """The content of correlations.csv: one row per finding, with all digits."""
    rows = [_cells(finding) for finding in findings]
    columns = dict.fromkeys(name for row in rows for name in row if name != "reason")
    none = {name: "" if name.endswith("_rival") else math.nan for name in columns}
    cells = ([row.get(name, none.get(name)) for name in (*columns, "reason")] for row in rows)
    return csv_text([[*columns, "reason"], *cells])


def _cells(finding: Finding) -> dict[str, object]:
    """Its columns; the ends of intervals have some of their own, and so have its thirds."""
    cells: dict[str, object] = {"target": finding.target}
    for name, value in vars(finding).items():
        if isinstance(value, Interval):
            whole = name.removesuffix("_interval")
            cells |= {f"{whole}_low": value.low, f"{whole}_high": value.high}
        elif name != "within":
            cells[name] = value
    for part in finding.within:
        of_third = {name: getattr(part, name) for name in ("tau", "rival", "rival_tau")}
        of_third |= {"difference": part.difference}
        of_third["low"], of_third["high"] = part.tau_interval
        of_third["difference_low"], of_third["difference_high"] = part.difference_interval
        cells |= {f"within_{part.count}_{name}": value for name, value in of_third.items()}
    return cells

"""The findings of a correlation about a measure, in result.json and ``correlations.csv``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from asvit.core.codec import Nullable, from_json, to_json, value_from_json
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
class Correlation:
    """How well a measure ranks a column of accuracies.

    All correlations are of the oriented measure, so that positive is good. They are NaN, with a
    ``reason``, if the rows cannot be ranked.
    """

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
    within: tuple[Within, ...]
    reason: str = ""  # why there are no correlations; empty if there are


@dataclass(frozen=True)
class Finding:
    """How well one measure ranks one column of accuracies."""

    # A measure, or several joined by ``+`` for the sum of their ranks; or :data:`PREDICTOR` and
    # the number of trainings that a predictor was fitted to.
    measure: str
    target: str  # name of the accuracies
    better: Better  # direction of the measure
    trivial: bool  # whether it is a count, the baseline for every other measure
    correlation: Correlation

    @property
    def predicted(self) -> bool:
        """Whether the measure is a predictor, whose values differ from split to split."""
        return self.measure.startswith(PREDICTOR)

    def to_json(self) -> dict[str, Any]:
        """The finding in the types of strict JSON: None for NaN."""
        own = {name: getattr(self, name) for name in _OWN}
        return {**own, **to_json(self.correlation)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Undo :meth:`to_json`."""
        own = {name: value_from_json(content[name], kind) for name, kind in _OWN.items()}
        return cls(**own, correlation=from_json(content, Correlation))


_OWN: Mapping[str, Any] = {"measure": str, "target": str, "better": Better, "trivial": bool}


@dataclass(frozen=True)
class RankedMeasure:
    """The part of a :class:`Finding` that a run stores for each of its measures."""

    measure: str
    better: Better
    n: int
    dropped: int
    tau: Nullable
    tau_interval: Interval
    difference: Nullable
    difference_interval: Interval
    reason: str

    @classmethod
    def of(cls, measure: str, better: Better, correlation: Correlation) -> Self:
        """That part of the correlation of a measure."""
        known = vars(correlation)
        return cls(measure, better, **{n: known[n] for n in cls.__match_args__ if n in known})


@dataclass(frozen=True)
class Reliability:
    """How well the measures of a run rank a reference table."""

    reference: str  # name of the table
    digest: str  # SHA-256 of its file
    target: str  # the accuracies
    description: str  # of the accuracies
    noise_ceiling: float | None  # τ between two training seeds; None where it is not known
    rows: int  # rows measured
    folder: str  # of the correlation, inside the run's; empty for scores that come with the table
    measures: Sequence[RankedMeasure]  # the run's measures, and the sum of their ranks
    best_count: RankedMeasure | None  # the count that ranks best; None without one
    scores: str = ""  # how scores that come with the table were measured; else as the run measures


def estimates(rank: Correlation | Within | RankedMeasure) -> tuple[Estimate, Estimate]:
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
        taus = [part.tau for part in finding.correlation.within]
        return not finding.trivial, _from_best(sum(taus) / len(taus) if taus else math.nan)

    return sorted(findings, key=place)


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """The findings target by target; in each the counts first, then by tau from the best."""
    targets = list(dict.fromkeys(finding.target for finding in findings))

    def place(finding: Finding) -> tuple[int, bool, float]:
        at = targets.index(finding.target)
        return at, not finding.trivial, _from_best(finding.correlation.tau)

    return sorted(findings, key=place)


def _from_best(tau: float) -> float:
    return math.inf if math.isnan(tau) else -tau


def _is_best_count(finding: Finding, rank: Correlation | Within) -> bool:
    """Whether it is the count that measures with a value of every row are compared with.

    Sums of counts, and counts without a value of some rows, may have a higher tau.
    """
    best = rank.rival == finding.measure and not math.isnan(rank.tau)
    return best and not finding.correlation.dropped


def rival_in(findings: Sequence[Finding]) -> Finding | None:
    """The count that ranks all rows best, of the findings of one target; None without one."""
    return next((row for row in findings if _is_best_count(row, row.correlation)), None)


def winners(findings: Sequence[Finding]) -> list[Finding]:
    """The measures that rank significantly better than the best count."""
    return [
        row for row in findings if not row.trivial and row.correlation.difference_interval.low > 0
    ]


def verdict(findings: Sequence[Finding]) -> str:
    """The conclusion from the findings of one target, in a sentence."""
    best = rival_in(findings)
    if best is None:
        return "No count can be ranked by."
    start = f"The best count is {best.measure} with tau {best.correlation.tau:.3f};"
    better = [f"{row.measure} ({row.correlation.tau:.3f})" for row in winners(findings)]
    meaning = "the 95 % interval of the difference is above 0"
    if not better:
        return f"{start} no measure ranks significantly better ({meaning} for none)."
    return f"{start} significantly better: {', '.join(better)} ({meaning})."


_SIZES = {"params": "parameters", "macs": "multiply-adds"}


def size_verdict(findings: Sequence[Finding]) -> str:
    """The conclusion about networks of about the same size, a sentence for each count."""
    parts = [(row, part) for row in findings for part in row.correlation.within]
    sentences = []
    for count in dict.fromkeys(part.count for _, part in parts):
        own = [(row, part) for row, part in parts if part.count == count]
        bests = [
            f"the best count is {row.measure} with tau {part.tau:.3f}"
            for row, part in own
            if _is_best_count(row, part)
        ]
        better = [
            f"{row.measure} ({part.tau:.3f})"
            for row, part in own
            if not row.trivial and part.difference_interval.low > 0
        ]
        best = bests[-1] if bests else "no count can be ranked by"
        sentences.append(
            f"Among networks with about as many {_SIZES.get(count, count)}, {best}; "
            f"significantly better: {', '.join(better) or 'none'}."
        )
    return " ".join(sentences)


def to_csv(findings: Sequence[Finding]) -> str:
    """The content of correlations.csv: one row per finding, with all digits."""
    rows = [_row(finding) for finding in findings]
    others = dict.fromkeys(name for row in rows for name in row if name != "reason")
    columns = {name: "" if name.endswith("_rival") else math.nan for name in others}
    columns["reason"] = ""
    cells = ([row.get(name, none) for name, none in columns.items()] for row in rows)
    return csv_text([[*columns], *cells])


def _row(finding: Finding) -> dict[str, object]:
    correlation = finding.correlation
    row: dict[str, object] = {name: getattr(finding, name) for name in ("target", *_OWN)}
    row |= _ends_apart(
        {k: v for k, v in vars(correlation).items() if k not in ("reason", "within")}
    )
    for part in correlation.within:
        cells = {name: getattr(part, name) for name in ("tau", "rival", "rival_tau", "difference")}
        cells["low"], cells["high"] = part.tau_interval
        cells |= _ends_apart({"difference_interval": part.difference_interval})
        row |= {f"within_{part.count}_{name}": value for name, value in cells.items()}
    return {**row, "reason": correlation.reason}


def _ends_apart(values: Mapping[str, object]) -> dict[str, object]:
    """The values with the ends of each interval in columns of their own."""
    cells: dict[str, object] = {}
    for name, value in values.items():
        whole = name.removesuffix("_interval")
        if isinstance(value, Interval):
            cells |= {f"{whole}_low": value.low, f"{whole}_high": value.high}
        else:
            cells[name] = value
    return cells

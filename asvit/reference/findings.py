"""What a table says of a measure: in result.json, in ``correlations.csv``, and in their order."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from asvit._records import finite, number
from asvit.reference.statistics import Band, Correlation, Interval
from proxies.registry import Better

_PLAIN = ("tau", "spearman", "weighted_tau", "partial_tau", "difference")
_INTERVALS = ("tau_interval", "difference_interval")
_WHOLE = ("n", "dropped", "rival", "reason")


@dataclass(frozen=True)
class Finding:
    """How well one measure ranks one column of accuracies.

    Attributes:
        measure: A measure, or measures joined by ``+`` for the sum of their ranks.
        target: Name of the accuracies.
        better: Direction of the measure.
        trivial: Whether it is a count, which every other measure has to beat.
        correlation: The correlations.
    """

    measure: str
    target: str
    better: Better
    trivial: bool
    correlation: Correlation

    def to_json(self) -> dict[str, Any]:
        """The finding in the types of strict JSON: None for NaN."""
        found = self.correlation
        return {
            "measure": self.measure,
            "target": self.target,
            "better": self.better,
            "trivial": self.trivial,
            **{name: getattr(found, name) for name in _WHOLE},
            **{name: finite(getattr(found, name)) for name in _PLAIN},
            **{
                name: [finite(end) for end in dataclasses.astuple(getattr(found, name))]
                for name in _INTERVALS
            },
            "in_bands": [
                {**dataclasses.asdict(band), "tau": finite(band.tau)} for band in found.in_bands
            ],
            "regret": {str(k): finite(points) for k, points in found.regret.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Undo :meth:`to_json`.

        Raises:
            KeyError: If a part is missing.
            TypeError: If a part is something else.
            ValueError: As KeyError.
        """
        parts: dict[str, Any] = {name: content[name] for name in _WHOLE}
        parts |= {name: number(content[name]) for name in _PLAIN}
        parts |= {name: Interval(*map(number, content[name])) for name in _INTERVALS}
        bands = (Band(**{**band, "tau": number(band["tau"])}) for band in content["in_bands"])
        regret = {int(k): number(points) for k, points in content["regret"].items()}
        return cls(
            measure=content["measure"],
            target=content["target"],
            better=content["better"],
            trivial=content["trivial"],
            correlation=Correlation(**parts, in_bands=tuple(bands), regret=regret),
        )


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Target after target as they come; in each the counts first, then by tau from the best."""
    targets = list(dict.fromkeys(finding.target for finding in findings))

    def place(finding: Finding) -> tuple[int, bool, float]:
        tau = finding.correlation.tau
        return (
            targets.index(finding.target),
            not finding.trivial,
            math.inf if math.isnan(tau) else -tau,
        )

    return sorted(findings, key=place)


def winners(findings: Sequence[Finding]) -> list[Finding]:
    """The measures that rank better than the best count, with the interval clear of zero."""
    return [
        one for one in findings if not one.trivial and one.correlation.difference_interval.low > 0
    ]


def verdict(findings: Sequence[Finding]) -> str:
    """What the findings of one target come to, in a sentence."""
    taus = {one.measure: one.correlation.tau for one in findings if one.trivial}
    known = {name: tau for name, tau in taus.items() if not math.isnan(tau)}
    if not known:
        return "No count can be ranked by."
    best = max(known, key=lambda name: known[name])
    told = f"The best count is {best} with tau {known[best]:.3f};"
    better = [f"{one.measure} ({one.correlation.tau:.3f})" for one in winners(findings)]
    if not better:
        return f"{told} no measure is better with the interval of the difference clear of zero."
    return (
        f"{told} better, with the interval of the difference clear of zero: {', '.join(better)}."
    )


def to_csv(findings: Sequence[Finding]) -> str:
    """The content of correlations.csv: one row a finding, with all digits."""
    rows = [_row(one) for one in findings]
    columns = dict.fromkeys(name for row in rows for name in row if name != "reason")
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, [*columns, "reason"], restval=repr(math.nan), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _row(finding: Finding) -> dict[str, object]:
    found = finding.correlation
    tau, apart = found.tau_interval, found.difference_interval
    return {
        "target": finding.target,
        "measure": finding.measure,
        "better": finding.better,
        "trivial": finding.trivial,
        "n": found.n,
        "dropped": found.dropped,
        "tau": found.tau,
        "tau_low": tau.low,
        "tau_high": tau.high,
        "spearman": found.spearman,
        "weighted_tau": found.weighted_tau,
        "partial_tau": found.partial_tau,
        "rival": found.rival,
        "difference": found.difference,
        "difference_low": apart.low,
        "difference_high": apart.high,
        **{f"regret_{k}": points for k, points in found.regret.items()},
        **{name: band.tau for name, band in band_names(found).items()},
        "reason": found.reason,
    }


def band_names(correlation: Correlation) -> dict[str, Band]:
    """The bands under short names, such as ``tau_params_1`` for the one of the fewest."""
    named: dict[str, Band] = {}
    for count in dict.fromkeys(band.count for band in correlation.in_bands):
        own = [band for band in correlation.in_bands if band.count == count]
        named |= {f"tau_{count}_{place}": band for place, band in enumerate(own, start=1)}
    return named

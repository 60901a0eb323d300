"""Findings and values of a correlation: their order, their files, and what they come to."""

import math
from dataclasses import replace

import numpy as np

from asvit.core.estimates import Interval
from asvit.reference.correlate import correlate
from asvit.reference.findings import (
    Finding,
    sort_findings,
    verdict,
)

ACCURACIES = [60.0, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74]
PARAMS = np.array([1.0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14])


def finding(
    measure: str, values: object, *, target: str = "top1", trivial: bool = False
) -> Finding:
    found = correlate(
        np.asarray(values, dtype=float),
        ACCURACIES,
        better="higher",
        counts={"params": PARAMS},
        samples=50,
    )
    return replace(found, measure=measure, target=target, trivial=trivial)


GOOD = finding("good", ACCURACIES)
BAD = finding("bad", ACCURACIES[::-1])
FEW = finding("few", [1.0, 2.0, 3.0, 4.0] + [math.nan] * 11)
COUNT = finding("params", PARAMS, trivial=True)


def test_counts_come_first_then_the_best_those_without_a_tau_last() -> None:
    other = replace(GOOD, target="other")
    findings = sort_findings([FEW, BAD, other, GOOD, COUNT])
    assert findings == [COUNT, GOOD, BAD, FEW, other]


def test_a_winner_is_clear_of_zero() -> None:
    sure = replace(GOOD, difference_interval=Interval(0.01, 0.2))
    unsure = replace(GOOD, difference_interval=Interval(0.0, 0.2))
    assert "no measure ranks significantly better" in verdict([COUNT, unsure])
    told = verdict([COUNT, sure, BAD, replace(sure, trivial=True)])
    assert f"params with tau {COUNT.tau:.3f}; significantly better: good (1.000) (the" in told


def test_the_best_count_is_the_one_that_measures_are_compared_with() -> None:
    both = finding("params+macs", ACCURACIES, trivial=True)
    some = finding("expansions", [*ACCURACIES[:6], *[math.nan] * 9], trivial=True)
    findings = [both, replace(some, rival="expansions"), COUNT, GOOD]
    assert verdict(findings).startswith(f"The best count is params with tau {COUNT.tau:.3f};")

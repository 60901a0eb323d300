"""The tables of a correlation's report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from asvit.reference.findings import Finding, band_names
from asvit.report import html
from asvit.report.correlate_figures import measure_label
from asvit.report.correlate_run import CorrelationRun

OPEN_FAILURES = 10  # rows with a failed measure up to which they are shown unfolded


def findings_table(found: Sequence[Finding]) -> str:
    """Tau, its interval, and what it is beside the best count."""
    numeric = ["n", "dropped", "τ", "low", "high", "difference", "low ", "high "]
    columns = ["measure", "better", *numeric, "compared with"]
    failed = {place for place, one in enumerate(found) if one.correlation.reason}
    if failed:
        columns.append("reason")
    cells: list[list[html.Cell]] = []
    for one in found:
        it = one.correlation
        numbers = [it.tau, it.tau_interval.low, it.tau_interval.high]
        numbers += [it.difference, it.difference_interval.low, it.difference_interval.high]
        words = [measure_label(it.rival), it.reason][: 2 if failed else 1]
        cells.append([_name(one), one.better, it.n, it.dropped, *map(_rounded, numbers), *words])
    return html.table(columns, cells, numeric=set(numeric), failed=failed)


def other_statistics_table(found: Sequence[Finding]) -> str:
    """Correlations of other kinds, tau in bands of equal size, and regret."""
    bands = list(dict.fromkeys(name for one in found for name in band_names(one.correlation)))
    regrets = list(dict.fromkeys(k for one in found for k in one.correlation.regret))
    numeric = ["Spearman", "weighted τ", "partial τ", *map(_band_label, bands)]
    numeric += [f"regret at {k}" for k in regrets]
    cells: list[list[html.Cell]] = []
    for one in found:
        it = one.correlation
        in_band = {name: band.tau for name, band in band_names(it).items()}
        numbers = [it.spearman, it.weighted_tau, it.partial_tau]
        numbers += [in_band.get(name, math.nan) for name in bands]
        cells.append(
            [_name(one), *map(_rounded, numbers), *(it.regret.get(k, math.nan) for k in regrets)]
        )
    return html.table(["measure", *numeric], cells, numeric=set(numeric))


def _name(finding: Finding) -> str:
    return measure_label(finding.measure) + (" (count)" if finding.trivial else "")


def _rounded(value: float) -> float:
    """A correlation to the digits that mean something."""
    return value if math.isnan(value) else round(value, 3)


def _band_label(name: str) -> str:
    count, _, place = name.removeprefix("tau_").rpartition("_")
    return f"τ, {measure_label(count)} band {place}"


def failures_section(run: CorrelationRun) -> str:
    """The architectures of which a measure failed, and why."""
    pairs = zip(run.values.architectures, run.values.reasons, strict=True)
    failed = [(text, reason) for text, reason in pairs if reason]
    if not failed:
        return ""
    words = f"{len(failed)} of {len(run.values.architectures)} architectures"
    table = html.table(["architecture", "reason"], failed, long=len(failed) > OPEN_FAILURES)
    return html.section(
        "Without a value",
        html.card(html.folded(words, table, unfolded=len(failed) <= OPEN_FAILURES)),
    )


def values_section(run: CorrelationRun) -> str:
    """What was correlated, row by row."""
    values = run.values
    measures = {measure_label(name): column for name, column in values.measures.items()}
    accuracies = {f"{name} (%)": column for name, column in values.accuracies.items()}
    columns = accuracies | measures
    table = html.table(
        ["architecture", "image size", *columns],
        zip(values.architectures, values.image_sizes, *columns.values(), strict=True),
        numeric={"image size", *columns},
        long=True,
    )
    words = f"{len(values.architectures)} architectures; values.csv has all digits"
    return html.section("Values", html.card(html.folded(words, table)))

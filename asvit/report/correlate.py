"""The figures of a correlation with their rows, and its values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from asvit.core.summary import Table
from asvit.reference.findings import Finding
from asvit.reference.result import CorrelationResult, Values, scatter_name
from asvit.reference.settings import parts
from asvit.report import style
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR
from proxies.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAR_COLUMNS, PAIR_COLUMNS = 2, 3  # panels side by side


def pictures(result: CorrelationResult) -> list[Picture]:
    """Draw every picture of ``result``: the taus, then a scatter for each measure."""
    taus = tau_rows(result.correlations)
    ceilings = {t.name: t.noise_ceiling for t in result.targets if t.noise_ceiling is not None}
    bars = Picture(
        "tau",
        "Kendall's τ",
        "How well each measure ranks the architectures by accuracy: the bar, and its 95 % "
        "bootstrap interval as a line. A measure that ranks no better than the counts has found "
        "nothing that the size does not tell.",
        lambda: draw_taus(taus, ceilings=ceilings),
        (taus, TauRow),
        wide=True,
    )
    measures = dict.fromkeys(row.measure for row in result.correlations if not row.predicted)
    return [bars, *(_scatter(result, name) for name in measures)]


def _scatter(result: CorrelationResult, measure: str) -> Picture:
    pairs = pair_rows(result.values, measure)
    own = {row.target: row for row in result.correlations if row.measure == measure}
    several = len(own) > 1
    titles = {target: tau_text(finding) for target, finding in own.items()}
    if several:  # reasons are longer than taus
        ends = {name: "\n" if math.isnan(own[name].tau) else " " for name in own}
        titles = {
            name: f"{one_line(name, most=style.LONGEST)}:{ends[name]}{text}"
            for name, text in titles.items()
        }
    ways = {"higher": "Higher is better.", "lower": "Lower is better.", "reported": ""}
    return Picture(
        scatter_name(measure),
        measure_label(measure),
        " ".join(["Each point is an architecture.", *{ways[row.better] for row in own.values()}]),
        lambda: draw_pairs(pairs, measure, titles),
        (pairs, PairRow),
        wide=several,
    )


def details(result: CorrelationResult) -> Iterator[Table]:
    """The architectures without a value, and all values."""
    values = result.values
    pairs = zip(values.architectures, values.reasons, strict=True)
    if failed := [pair for pair in pairs if pair[1]]:
        yield Table(["architecture", "reason"], failed, "Without a value")
    columns = ["architecture", "image size", *(f"{name} (%)" for name in values.accuracies)]
    cells = (values.image_sizes, *values.accuracies.values(), *values.measures.values())
    rows = list(zip(values.architectures, *cells, strict=True))
    yield Table([*columns, *values.measures], rows, "Values")


@dataclass(frozen=True)
class TauRow:
    """Kendall's tau of one measure and one target, with its 95 % interval.

    ``trivial`` marks counts, which every other measure has to beat.
    """

    target: str
    measure: str
    trivial: bool
    n: int
    tau: float
    low: float
    high: float


@dataclass(frozen=True)
class PairRow:
    """A measure and an accuracy in per cent of one architecture."""

    target: str
    architecture: str
    value: float
    accuracy: float


def tau_rows(findings: Iterable[Finding]) -> list[TauRow]:
    """Target after target, in each the measures by tau from the best; those without a tau last."""
    rows = [
        TauRow(
            finding.target,
            finding.measure,
            finding.trivial,
            finding.n,
            finding.tau,
            *finding.tau_interval,
        )
        for finding in findings
    ]
    targets = list(dict.fromkeys(row.target for row in rows))
    best = {row: math.inf if math.isnan(row.tau) else -row.tau for row in rows}
    return sorted(rows, key=lambda row: (targets.index(row.target), best[row]))


def pair_rows(values: Values, measure: str) -> list[PairRow]:
    """Every architecture that has both a value of ``measure`` and an accuracy."""
    return [
        PairRow(target, text, value, accuracy)
        for target, accuracies in values.accuracies.items()
        for text, value, accuracy in zip(
            values.architectures, values.measures[measure], accuracies, strict=True
        )
        if math.isfinite(value) and math.isfinite(accuracy)
    ]


def measure_label(name: str) -> str:
    """A measure or a combination as people write it."""
    return " + ".join(map(style.label, parts(name)))


def tau_text(finding: Finding) -> str:
    """Tau and its interval, or why there is none."""
    if math.isnan(finding.tau):
        return one_line(finding.reason, most=style.LONGEST)
    return f"τ {finding.tau:.2f} [{finding.tau_interval.low:.2f}, {finding.tau_interval.high:.2f}]"


def draw_taus(rows: Sequence[TauRow], *, ceilings: Mapping[str, float]) -> Figure:
    """Bars of tau with their intervals, the best on top: a panel a target, its ceiling a line."""
    series = {name: list(group) for name, group in groupby(rows, key=lambda row: row.target)}
    tallest = max(len(group) for group in series.values())
    lines, wide = math.ceil(len(series) / BAR_COLUMNS), min(BAR_COLUMNS, len(series))
    fig = style.figure(width=1.4 + 4.2 * wide, height=lines * (0.9 + 0.24 * tallest) + 0.4)
    grid = style.panels(fig, len(series), columns=wide)
    for axes, (name, group) in zip(grid, series.items(), strict=True):
        axes.set_title(one_line(name, most=style.LONGEST))
        _bars(axes, group)
        if name in ceilings:
            axes.axvline(ceilings[name], color=COLOUR["bad"], linewidth=1, label="noise ceiling")
    style.legend(fig)
    return fig


def _bars(axes: Axes, rows: Sequence[TauRow]) -> None:
    """A bar for each row, with its interval as a line over its end."""
    for trivial, colour, name in ((False, "first", "measures"), (True, "second", "counts")):
        own = {place: row for place, row in enumerate(rows) if row.trivial == trivial}
        taus = {place: row.tau for place, row in own.items() if math.isfinite(row.tau)}
        if not taus:
            continue
        axes.barh(
            list(taus),
            list(taus.values()),
            color=COLOUR[colour],
            alpha=0.75,
            height=0.7,
            label=name,
        )
        sure = [place for place in taus if math.isfinite(own[place].low)]
        ends = style.pairs([own[place] for place in sure], "low", "high")
        axes.hlines(sure, *ends, color=COLOUR["ink"], linewidth=1.1)
    axes.axvline(0, color=COLOUR["muted"], linewidth=0.8)
    # Each part of a combination has a line of its own.
    names = [measure_label(row.measure).replace(" + ", " +\n") for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("Kendall's τ")


def draw_pairs(rows: Sequence[PairRow], measure: str, titles: Mapping[str, str]) -> Figure:
    """Accuracies over a measure: a panel for each target of ``titles``, even without rows."""
    lines, wide = math.ceil(len(titles) / PAIR_COLUMNS), min(PAIR_COLUMNS, len(titles))
    fig = style.figure(width=1.4 + 3.1 * wide, height=0.3 + 3.1 * lines)
    grid = style.panels(fig, len(titles), columns=wide)
    for axes, (name, title) in zip(grid, titles.items(), strict=True):
        axes.set_title(title)
        group = [row for row in rows if row.target == name]
        if not group:
            style.note(axes, "no architecture has both")
            continue
        draw_panel(axes, group)
    fig.supxlabel(measure_label(measure), fontsize=style.SMALL, color=COLOUR["muted"])
    return fig


def draw_panel(axes: Axes, rows: Sequence[PairRow]) -> None:
    """Accuracies over a measure, for the target of ``rows``, which are not empty."""
    style.dots(axes, *style.pairs(rows, "value", "accuracy"))
    style.log_scale(axes, "x", [row.value for row in rows])
    axes.set_ylabel(f"{one_line(rows[0].target, most=style.LONGEST)} (%)")

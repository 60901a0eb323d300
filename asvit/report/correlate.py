"""The report of a correlation: figures with their rows beside them, and one page with it all.

It needs a result.json and the values.csv beside it. The same folder gives the same bytes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from asvit.core.run_files import VALUES
from asvit.core.summary import Cell
from asvit.reference.findings import Finding, Reliability, by_size, size_verdict, verdict
from asvit.reference.result import CorrelationResult, scatter_name
from asvit.reference.table import Target
from asvit.report import correlate_figures as draw
from asvit.report import html
from asvit.report.correlate_figures import measure_label
from asvit.report.pictures import Picture
from asvit.report.style import LONGEST
from proxies.text import one_line

_OPEN_FAILURES = 10  # rows with a failed measure up to which they are shown unfolded
_TRAINED = {
    "scratch": "trained from scratch",
    "distilled": "distilled from a teacher",
    "inherited": "weights inherited from a supernet",
    "unknown": "how the networks were trained is not known",
}
_TAUS = ("n", "dropped", "τ", "low", "high", "difference", "low ", "high ")


def correlation_pictures(result: CorrelationResult) -> list[Picture]:
    """Draw every picture of ``result``: the taus, then a scatter for each measure."""
    taus = draw.tau_rows(result.correlations)
    ceilings = {t.name: t.noise_ceiling for t in result.targets if t.noise_ceiling is not None}
    bars = Picture(
        "tau",
        "Kendall's τ",
        "How well each measure ranks the architectures by accuracy: the bar, and its 95 % "
        "bootstrap interval as a line. A measure that ranks no better than the counts has found "
        "nothing that the size does not tell.",
        lambda: draw.draw_taus(taus, ceilings=ceilings),
        (taus, draw.TauRow),
        wide=True,
    )
    measures = dict.fromkeys(row.measure for row in result.correlations if not row.predicted)
    return [bars, *(_scatter(result, name) for name in measures)]


def _scatter(result: CorrelationResult, measure: str) -> Picture:
    pairs = draw.pair_rows(result.values, measure)
    own = {row.target: row for row in result.correlations if row.measure == measure}
    several = len(own) > 1
    titles = {
        target: f"{one_line(target, most=LONGEST)}: {draw.tau_text(finding)}"
        if several
        else draw.tau_text(finding)
        for target, finding in own.items()
    }
    ways = {"higher": "Higher is better.", "lower": "Lower is better.", "reported": ""}
    return Picture(
        scatter_name(measure),
        measure_label(measure),
        " ".join(["Each point is an architecture.", *{ways[row.better] for row in own.values()}]),
        lambda: draw.draw_pairs(pairs, measure, titles),
        (pairs, draw.PairRow),
        wide=several,
    )


def page(result: CorrelationResult, pictures: Sequence[Picture]) -> str:
    """The whole page of ``result`` with its ``pictures``."""
    return html.page(
        f"{result.folder.resolve().name}: measures against accuracies",
        [
            _header(result),
            *(_target(result, target) for target in result.targets),
            html.figures(pictures),
            _failures(result),
            _values(result),
            _origin(result),
        ],
    )


def _header(result: CorrelationResult) -> str:
    left_out = "".join(f"; {count} {why}" for why, count in result.excluded.items())
    sizes = sorted(set(result.values.image_sizes))
    ends = " to ".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
    facts = [f"reference {result.reference}", f"{ends} px"]
    facts += [f"{name} {getattr(result.settings, name)}" for name in ("repeats", "seed")]
    took = html.duration(result.wall_seconds)
    what = f"{result.rows} architectures{left_out}; measured in {took}."
    return html.header("asvit correlate", result.folder.resolve().name, facts, what)


def _target(result: CorrelationResult, target: Target) -> str:
    """The verdict on a target and the table of its findings."""
    findings = [finding for finding in result.correlations if finding.target == target.name]
    words = [f"{_described(target)}."]
    if target.noise_ceiling is not None:
        words.append(
            f"Two training seeds agree with tau {target.noise_ceiling:.2f}: training each network "
            "once ranks no better."
        )
    return html.section(
        target.name,
        html.paragraph(" ".join(words)),
        *_at_the_same_size(findings),
        html.paragraph(verdict(findings)),
        html.card(_findings_table(findings)),
        html.paragraph(
            "τ is Kendall's τ-b; the difference is to the best count's τ on the same rows. low "
            "and high bound 95 % bootstrap intervals.",
            "quiet",
        ),
    )


def _at_the_same_size(findings: Sequence[Finding]) -> list[str]:
    """Tau within thirds of the sizes; empty where no measure has one."""
    sizes = dict.fromkeys(part.count for row in findings for part in row.correlation.within)
    if not sizes:
        return []
    columns = ["τ", "low", "high", "difference", "low ", "high "]
    tables = []
    for size in sizes:
        cells: list[list[Cell]] = []
        for finding in by_size(findings):
            parts = {part.count: part for part in finding.correlation.within}
            part = parts.get(size)
            numbers = [math.nan] * len(columns) if part is None else _with_intervals(part)
            cells.append([_label(finding.measure, finding.trivial), *map(_rounded, numbers)])
        first = f"in thirds of {measure_label(size)}"
        tables.append(html.card(html.table([first, *columns], cells)))
    return [
        html.paragraph(size_verdict(findings)),
        *tables,
        html.paragraph(
            "Over all pairs of architectures in the same third by parameters, or by "
            "multiply-adds: τ, and its difference to the best count's there, with 95 % "
            "bootstrap intervals. A predictor@12 is fitted to 12 architectures and judged on the "
            "others, and so on.",
            "quiet",
        ),
    ]


def _described(target: Target) -> str:
    """The description of a target, with how its networks were trained unless it says so."""
    trained = _TRAINED[target.training]
    stated = trained in target.description or target.training in target.description
    return target.description if stated else f"{target.description}; {trained}"


def _findings_table(findings: Sequence[Finding]) -> str:
    """Tau, its interval, and what it is beside the best count."""
    columns = ["measure", "better", *_TAUS, "compared with"]
    failed = {place for place, finding in enumerate(findings) if finding.correlation.reason}
    if failed:
        columns.append("reason")
    rows: list[list[Cell]] = []
    for finding in findings:
        correlation = finding.correlation
        name = _label(finding.measure, finding.trivial)
        rows.append(
            [name, finding.better, *_taus(correlation), measure_label(correlation.rival)]
            + [correlation.reason] * bool(failed)
        )
    return html.table(columns, rows, failed=failed)


def _taus(row: Any) -> Iterator[Cell]:
    """The cells of a correlation in the columns ``_TAUS``."""
    yield from (row.n, row.dropped, *map(_rounded, _with_intervals(row)))


def _with_intervals(row: Any) -> list[float]:
    """Tau and the difference to the rival's, each with its interval."""
    return [row.tau, *row.tau_interval, row.difference, *row.difference_interval]


def _label(measure: str, trivial: bool) -> str:
    return measure_label(measure) + (" (count)" if trivial else "")


def _rounded(value: float) -> float:
    """``value`` to three decimals."""
    return value if math.isnan(value) else round(value, 3)


def _failures(result: CorrelationResult) -> str:
    """The architectures with a failed measure, and the reasons."""
    pairs = zip(result.values.architectures, result.values.reasons, strict=True)
    failed = [(text, reason) for text, reason in pairs if reason]
    if not failed:
        return ""
    words = f"{len(failed)} of {len(result.values.architectures)} architectures"
    table = html.table(["architecture", "reason"], failed, long=len(failed) > _OPEN_FAILURES)
    unfolded = len(failed) <= _OPEN_FAILURES
    return html.section("Without a value", html.folded(words, table, unfolded=unfolded))


def _values(result: CorrelationResult) -> str:
    """The measured values and the accuracies, row by row."""
    values = result.values
    measures = {measure_label(name): column for name, column in values.measures.items()}
    accuracies = {f"{name} (%)": column for name, column in values.accuracies.items()}
    columns = accuracies | measures
    table = html.table(
        ["architecture", "image size", *columns],
        list(zip(values.architectures, values.image_sizes, *columns.values(), strict=True)),
        long=True,
    )
    words = f"{len(values.architectures)} architectures; values.csv has all digits"
    return html.section("Values", html.folded(words, table))


def _origin(result: CorrelationResult) -> str:
    images = {
        f"{size} px": f"{of['source']}, digest {of['digest'][:12]}"
        for size, of in result.provenance["images"].items()
    }
    question = {name: value for name, value in result.question.to_json().items() if value}
    settings = {**question, **result.settings.to_json(), "table digest": result.digest[:12]}
    provenance = {**result.provenance, "images": images}
    return html.origin(settings, replace(result, provenance=provenance))


def trust(reliability: Reliability | None) -> str:
    """How well the measures of a run rank a reference table; empty without ``--reference``."""
    if reliability is None:
        return ""
    words = (
        f"How well the run's measures rank the {reliability.rows} architectures of "
        f"{reliability.reference} by {reliability.target} ({reliability.description}), measured "
        "as the run measured. low and high bound 95 % intervals; the difference is to the τ of "
        f"the best count, the last row. All of it is in {reliability.folder}."
    )
    if reliability.noise_ceiling is not None:
        words += f" Two training seeds agree with tau {reliability.noise_ceiling:.2f}."
    best = reliability.best_count
    rows = [*reliability.measures, *([best] if best else [])]
    cells = [[_label(row.measure, row is best), *_taus(row), row.reason] for row in rows]
    failed = {place for place, row in enumerate(rows) if row.reason}
    table = html.table(["measure", *_TAUS, "reason"], cells, failed=failed)
    return html.section("How far to trust the measures", html.paragraph(words), html.card(table))


write_correlation_report = html.Report(
    lambda folder: html.read_result(folder, CorrelationResult, "asvit correlate", VALUES),
    correlation_pictures,
    page,
)

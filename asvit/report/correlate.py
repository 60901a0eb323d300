"""The report of a correlation: figures with their rows beside them, and one page with it all.

It needs a result.json and the values.csv beside it. The same folder gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asvit.reference.findings import verdict
from asvit.reference.table import Target
from asvit.report import correlate_figures as draw
from asvit.report import correlate_rows as rows
from asvit.report import html
from asvit.report.correlate_figures import measure_label
from asvit.report.correlate_run import (
    CorrelationRun,
    read_correlation_run,
    scatter_name,
)
from asvit.report.correlate_tables import (
    failures_section,
    findings_table,
    other_statistics_table,
    values_section,
)
from asvit.report.figures import LONGEST
from asvit.report.parts import figures, origin, write_pages
from asvit.report.pictures import Picture, make_picture
from proxies.messages import one_line


def write_correlation_report(folder: Path | str) -> list[Path]:
    """Write the figures of a correlation, their rows and ``report.html`` into its run folder.

    Args:
        folder: Run folder of a correlation that has answered a question.

    Returns:
        The files written, the page last.

    Raises:
        FileNotFoundError: If nothing is finished in the folder yet.
        ValueError: If a file in it is not what it should be.
        OSError: If it cannot be written to; each file is there as a whole or not at all.
    """
    folder = Path(folder)
    run = read_correlation_run(folder)
    drawn = correlation_pictures(run)
    return write_pages(folder, drawn, page(run, drawn))


def correlation_pictures(run: CorrelationRun) -> list[Picture]:
    """Draw every picture of ``run``: the taus, then a scatter for each measure."""
    taus = rows.tau_rows(run.findings)
    ceilings = {t.name: t.noise_ceiling for t in run.targets if t.noise_ceiling is not None}
    bars = make_picture(
        "tau",
        "Kendall's τ",
        "How well each measure ranks the architectures by accuracy: the bar, and its 95 % "
        "bootstrap interval as a line. A measure that ranks no better than the counts has found "
        "nothing that the size does not tell.",
        lambda: draw.draw_taus(taus, ceilings=ceilings),
        (taus, rows.TauRow),
        wide=True,
    )
    measures = dict.fromkeys(one.measure for one in run.findings)
    return [bars, *(_scatter(run, name) for name in measures)]


def _scatter(run: CorrelationRun, measure: str) -> Picture:
    found = rows.pair_rows(run.values, measure)
    own = {one.target: one for one in run.findings if one.measure == measure}
    many = len(own) > 1
    titles = {
        target: f"{one_line(target, most=LONGEST)}: {draw.tau_text(one)}"
        if many
        else draw.tau_text(one)
        for target, one in own.items()
    }
    ways = {"higher": "Higher is better.", "lower": "Lower is better.", "reported": ""}
    return make_picture(
        scatter_name(measure),
        measure_label(measure),
        " ".join(["Each point is an architecture.", *{ways[one.better] for one in own.values()}]),
        lambda: draw.draw_pairs(found, measure, titles),
        (found, rows.PairRow),
        wide=many,
    )


def page(run: CorrelationRun, drawn: Sequence[Picture]) -> str:
    """The whole page of ``run`` around the pictures ``drawn`` of it."""
    return html.page(
        f"{run.name}: measures against accuracies",
        [
            _header(run),
            *(_target(run, target) for target in run.targets),
            figures(drawn),
            failures_section(run),
            values_section(run),
            _origin(run),
        ],
    )


def _header(run: CorrelationRun) -> str:
    result = run.result
    left_out = "".join(f"; {count} {why}" for why, count in result["excluded"].items())
    sizes = sorted(set(run.values.image_sizes))
    told = [f"reference {result['reference']}", f"{' to '.join(map(str, _ends(sizes)))} px"]
    told += [f"{name} {result['settings'][name]}" for name in ("repeats", "seed")]
    return (
        html.paragraph("asvit correlate", "quiet")
        + html.heading(run.name)
        + html.paragraph(" · ".join(told), "quiet")
        + html.paragraph(
            f"{result['rows']} architectures{left_out}; "
            f"measured in {html.duration(result['wall_seconds'])}."
        )
    )


def _ends(sizes: Sequence[int]) -> list[int]:
    return list(dict.fromkeys((sizes[0], sizes[-1])))


def _target(run: CorrelationRun, target: Target) -> str:
    """The verdict on a target and the table of its findings."""
    found = run.of(target)
    words = [f"{target.description}; trained: {target.training}."]
    if target.noise_ceiling is not None:
        words.append(
            f"Two training seeds agree with tau {target.noise_ceiling:.2f}: training each network "
            "once ranks no better."
        )
    return html.section(
        target.name,
        html.paragraph(" ".join(words)),
        html.paragraph(verdict(found)),
        html.card(findings_table(found)),
        html.paragraph(
            "τ is Kendall's τ-b; the difference is to the best count's τ on the same rows. low "
            "and high bound 95 % bootstrap intervals.",
            "quiet",
        ),
        html.card(
            html.folded(
                "Spearman, weighted and partial τ, τ in bands, regret",
                other_statistics_table(found),
            )
        ),
        html.paragraph(
            "Partial τ is given the parameters. Bands hold equally many architectures, from the "
            "smallest. Regret is what the best of the k ranked highest lacks to the best of all, "
            "in points of accuracy.",
            "quiet",
        ),
    )


def _origin(run: CorrelationRun) -> str:
    result = dict(run.result)
    result["images"] = {
        f"{size} px": f"{of['source']}, digest {of['digest'][:12]}"
        for size, of in result["images"].items()
    }
    question = {name: value for name, value in result["question"].items() if value}
    return origin(
        {**question, **result["settings"], "table digest": result["digest"][:12]}, result
    )

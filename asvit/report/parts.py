"""The parts that the reports of all kinds of runs have in common."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asvit.core.files import write_text
from asvit.core.results import Result
from asvit.core.run_files import REPORT
from asvit.report import html
from asvit.report.pictures import Picture


def write_pages(folder: Path, drawn: Sequence[Picture], page: str) -> list[Path]:
    """Write figures, their rows and the page into ``folder``; return the files, the page last.

    Raises:
        OSError: If it cannot be written to; each file is there as a whole or not at all.
    """
    texts = {f"{p.name}.{kind}": getattr(p, kind) for p in drawn for kind in ("svg", "csv")}
    texts[REPORT] = page
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def write_result_page(
    command: str, result: Result, facts: Mapping[str, str], drawn: Sequence[Picture]
) -> list[Path]:
    """Write figures and a page of a finished run into its folder: facts, figures, origin.

    Args:
        command: The command that the run is of.
        result: Its result.
        facts: What it came to.
        drawn: Its figures.

    Returns:
        The files written, the page last.

    Raises:
        OSError: If it cannot be written to; each file is there as a whole or not at all.
    """
    name = result.folder.resolve().name
    head = html.paragraph(command, "quiet") + html.heading(name)
    took = html.paragraph(f"Finished in {html.duration(result.wall_seconds)}.")
    told = html.section("Result", html.card(html.facts(facts.items())))
    parts = [head + took, told, figures(drawn) if drawn else ""]
    parts.append(origin(result.settings.to_json(), result.provenance))
    return write_pages(result.folder, drawn, html.page(f"{name}: {result.noun}", parts))


def figures(drawn: Sequence[Picture]) -> str:
    """The section of the figures."""
    cards = "".join(
        html.figure(
            html.inline_svg(picture.svg, name=f"figure{place}", title=picture.title),
            title=picture.title,
            caption=picture.caption,
            wide=picture.wide,
        )
        for place, picture in enumerate(drawn)
    )
    return html.section("Figures", f'<div class="figures">{cards}</div>')


def origin(settings: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Everything that is needed to get a run again: settings, images, versions, the command."""
    told = {"Settings": settings}
    told |= {name.capitalize(): result.get(name) or {} for name in ("images", "versions")}
    parts = [
        html.section(title, html.card(html.facts(map(_pair, found.items()), small=True)))
        for title, found in told.items()
        if found
    ]
    command = result.get("command")
    if command:
        text = command if isinstance(command, str) else shlex.join(command)
        parts.append(html.section("Command", html.card(html.code(text))))
    return "".join(parts)


def _pair(item: tuple[str, object]) -> tuple[str, str]:
    name, value = item
    words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return name.replace("_", " "), "not given" if value is None else words

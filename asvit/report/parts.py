"""The parts that the reports of all kinds of runs have in common."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asvit._files import write_text
from asvit._run_files import REPORT
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

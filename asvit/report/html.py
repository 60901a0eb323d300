"""One page that needs nothing else: the parts of a report as HTML, everything escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from asvit.report.style import PALETTE

PAGE = {"page": ("#f6f7f8", "#0e1217")}  # behind the cards

Cell = str | int | float | None


def page(title: str, sections: Iterable[str]) -> str:
    """The whole document around ``sections``, which are HTML already."""
    colours = PALETTE | PAGE
    light, dark = (
        " ".join(f"--{role}: {pair[theme]};" for role, pair in colours.items()) for theme in (0, 1)
    )
    template = Template(files("asvit.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title), light=light, dark=dark, body="\n".join(sections)
    )


def inline_svg(svg: str, *, name: str, title: str) -> str:
    """A figure's file as part of the page: ids of its own, colours that follow the theme.

    Args:
        svg: The text of the file, as matplotlib writes it.
        name: Prefix of the ids, so that those of two figures on a page differ.
        title: What the figure shows, for those who cannot see it.
    """
    body = svg[svg.index("<svg") :].strip()
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", body)
    for role, (light, _) in PALETTE.items():
        body = body.replace(light, f"var(--{role})")
    body = re.sub(r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", body, count=1)
    body = re.sub(
        r'^<svg ([^>]*?)height="[^"]*"([^>]*?) width="[^"]*"', r"<svg \1\2", body, count=1
    )
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    return body.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def figure(svg: str, *, title: str, caption: str, wide: bool = False) -> str:
    """A card with a figure and the words below it; ``svg`` comes from :func:`inline_svg`."""
    kind = "card wide" if wide else "card"
    return (
        f'<figure class="{kind}"><div class="scroll">{svg}</div>'
        f"<figcaption><b>{escape(title)}</b>{escape(caption)}</figcaption></figure>"
    )


def heading(text: str) -> str:
    """The title of the page."""
    return f"<h1>{escape(text)}</h1>"


def section(title: str, *parts: str) -> str:
    """``parts``, which are HTML already, under a heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def card(*parts: str) -> str:
    """``parts``, which are HTML already, on a card."""
    return f'<div class="card">{"".join(parts)}</div>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; ``kind`` is a class of the page's style: quiet, architecture."""
    return f"<p{_class(kind)}>{escape(text)}</p>" if text else ""


def code(text: str) -> str:
    """What to type."""
    return f"<pre>{escape(text)}</pre>"


def folded(summary: str, part: str, *, unfolded: bool = False) -> str:
    """``part``, which is HTML already, behind its summary."""
    state = " open" if unfolded else ""
    return f"<details{state}><summary>{escape(summary)}</summary>{part}</details>"


def facts(pairs: Iterable[tuple[str, str]], *, small: bool = False) -> str:
    """Short values under their names, side by side."""
    items = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs
    )
    return f'<dl class="facts{" small" if small else ""}">{"".join(items)}</dl>'


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    numeric: frozenset[str] | set[str] = frozenset(),
    failed: frozenset[int] | set[int] = frozenset(),
    long: bool = False,
) -> str:
    """A table whose headings sort it.

    Args:
        columns: The headings.
        rows: One cell a column; None and NaN become empty cells that sort last.
        numeric: The columns that hold numbers: to the right, sorted by value.
        failed: Places of the rows to mark as failed.
        long: Give the table a height of its own and let it scroll.
    """
    kinds = ["number" if column in numeric else "" for column in columns]
    heads = "".join(
        f'<th scope="col"{_class(kind)}><button type="button">{escape(column)}</button></th>'
        for column, kind in zip(columns, kinds, strict=True)
    )
    body = "\n".join(
        f"<tr{_class('failed' if place in failed else '')}>"
        + "".join(_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for place, row in enumerate(rows)
    )
    return (
        f'<div class="scroll{" long" if long else ""}" tabindex="0"><table><thead><tr>{heads}</tr>'
        f"</thead><tbody>\n{body}\n</tbody></table></div>"
    )


def number(value: float | int | None, digits: int = 4) -> str:
    """``value`` with ``digits`` significant digits, whole numbers whole, nothing as empty text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, int) or (math.isfinite(value) and abs(value) >= 10 ** (digits - 1)):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    """A duration as people say it: ``42 s``, ``26 min``, ``3 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _cell(cell: Cell, kind: str) -> str:
    if kind == "number" and not isinstance(cell, str):
        text = number(cell)
        value = repr(cell) if text else ""
        return f'<td class="number" data-value="{value}">{text}</td>'
    text = escape(str(cell)) if cell is not None else ""
    return f"<td{_class('words' if len(text) > 60 else '')}>{text}</td>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""

"""One page that needs nothing else: the parts of a report as HTML, everything escaped."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from asvit.report.style import PALETTE
from proxies.messages import legible

PAGE = {"page": ("#f6f7f8", "#0e1217")}  # behind the cards

Cell = str | int | float | None


def page(title: str, sections: Iterable[str]) -> str:
    """The whole document around ``sections``, which are HTML already."""
    colours = PALETTE | PAGE
    light, dark = (
        " ".join(f"--{role}: {pair[theme]};" for role, pair in colours.items()) for theme in (0, 1)
    )
    text = files("asvit.report").joinpath("page.html").read_text(encoding="utf-8")
    return Template(text).substitute(
        title=_text(title),
        policy=_policy(text),
        light=light,
        dark=dark,
        body="\n".join(sections),
    )


def _policy(page: str) -> str:
    """What a browser may do with ``page``: run its own script, and ask nobody for anything."""
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


def inline_svg(svg: str, *, name: str, title: str) -> str:
    """A figure's file as part of the page: ids of its own, colours that follow the theme.

    Args:
        svg: The text of the file, as matplotlib writes it.
        name: Prefix of the ids, so that those of two figures on a page differ: an HTML id.
        title: What the figure shows, for those who cannot see it.
    """
    body = svg[svg.index("<svg") :].strip()
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # In its tags only: what looks like an id or a colour between them is text.
    body = re.sub(r"<[^>]*>", lambda tag: _themed(tag[0], name), body)
    width = re.match(r'<svg [^>]*?\bwidth="([\d.]+pt)"', body)
    body = re.sub(
        r"^<svg [^>]*>", lambda tag: re.sub(r' (width|height)="[^"]*"', "", tag[0]), body
    )
    own = f' style="--natural: {width[1]}"' if width else ""
    return body.replace("<svg", f'<svg role="img" aria-label="{_text(title)}"{own}', 1)


def _themed(tag: str, name: str) -> str:
    """A tag of a figure as :func:`inline_svg` wants it."""
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", tag)
    for role, (light, _) in PALETTE.items():
        tag = tag.replace(light, f"var(--{role})")
    return tag


def figure(svg: str, *, title: str, caption: str, wide: bool = False) -> str:
    """A card with a figure and the words below it; ``svg`` comes from :func:`inline_svg`."""
    kind = "card wide" if wide else "card"
    return (
        f'<figure class="{kind}"><div class="scroll">{svg}</div>'
        f"<figcaption><b>{_text(title)}</b>{_text(caption)}</figcaption></figure>"
    )


def heading(text: str) -> str:
    """The title of the page."""
    return f"<h1>{_text(text)}</h1>"


def section(title: str, *parts: str) -> str:
    """``parts``, which are HTML already, under a heading."""
    return f"<section><h2>{_text(title)}</h2>{''.join(parts)}</section>"


def card(*parts: str) -> str:
    """``parts``, which are HTML already, on a card."""
    return f'<div class="card">{"".join(parts)}</div>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; ``kind`` is a class of the page's style: quiet, architecture."""
    return f"<p{_class(kind)}>{_text(text)}</p>" if text else ""


def code(text: str) -> str:
    """What to type."""
    lines = "\n".join(map(_text, text.split("\n")))
    return f"<pre>{lines}</pre>"


def folded(summary: str, part: str, *, unfolded: bool = False) -> str:
    """``part``, which is HTML already, behind its summary."""
    state = " open" if unfolded else ""
    return f"<details{state}><summary>{_text(summary)}</summary>{part}</details>"


def facts(pairs: Iterable[tuple[str, str]], *, small: bool = False) -> str:
    """Short values under their names, side by side."""
    items = (f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in pairs)
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
        rows: One cell a column; None and NaN become empty cells that sort last either way.
        numeric: The columns that hold numbers: to the right, sorted by value.
        failed: Places of the rows to mark as failed.
        long: Give the table a height of its own and let it scroll.
    """
    kinds = ["number" if column in numeric else "" for column in columns]
    heads = "".join(
        f'<th scope="col"{_class(kind)}><button type="button">{_text(column)}</button></th>'
        for column, kind in zip(columns, kinds, strict=True)
    )
    body = "\n".join(
        f"<tr{_class('failed' if place in failed else '')}>"
        + "".join(_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for place, row in enumerate(rows)
    )
    return (
        f'<div class="scroll{" long" if long else ""}" tabindex="0" role="group" '
        f'aria-label="{_text(", ".join(columns))}"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
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
        value = str(cell).replace("inf", "Infinity") if text else ""  # as JavaScript writes it
        return f'<td class="number" data-value="{value}">{text}</td>'
    text = str(cell) if cell is not None else ""
    return f"<td{_class('words' if len(text) > 60 else '')}>{_text(text)}</td>"


def _text(text: str) -> str:
    """``text`` as it may stand between tags or in an attribute, with nothing invisible in it."""
    return escape(legible(text))


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""

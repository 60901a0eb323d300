"""One page that needs nothing else: the parts of a report as HTML, everything escaped."""

import base64
import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from asvit.core import console
from asvit.core.estimates import Estimate
from asvit.core.files import write_text
from asvit.core.results import Result
from asvit.core.run_files import REPORT
from asvit.core.summary import Cell, Photo, SummaryPart, Table
from asvit.report.pictures import Picture
from asvit.report.style import LABELS
from proxies.text import legible

OPEN_ROWS = 40  # of a table that is shown unfolded
MOST_ROWS = 1000  # of a table; result.json or a CSV file has all


def result_page(
    command: str,
    result: Result,
    summary: Iterable[SummaryPart],
    pictures: Sequence[Picture],
    details: Iterable[Table],
) -> str:
    """The page of a finished run: its summary, its figures, long tables, and how to repeat it."""
    name = result.folder.resolve().name
    title = f"{paragraph(command, 'quiet')}<h1>{_text(name)}</h1>"
    parts = [
        title,
        summary_html(summary),
        figures(pictures),
        *map(folded, details),
        origin(result),
    ]
    return page(f"{name}: {result.noun}", parts)


def write_files(folder: Path, pictures: Sequence[Picture], text: str = "") -> list[Path]:
    """Write figures, their rows and a page; each file is there as a whole or not at all."""
    texts = {
        f"{picture.name}.{kind}": getattr(picture, kind)
        for picture in pictures
        for kind in ("svg", "csv")
    }
    if text:
        texts[REPORT] = text
    for name, content in texts.items():
        write_text(folder / name, content)
    return [folder / name for name in texts]


def page(title: str, sections: Iterable[str]) -> str:
    """The whole document around ``sections``, which are HTML already."""
    here = files("asvit.report")
    text, style, script = (
        here.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    # The browser may run this script alone and load nothing.
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return Template(text).substitute(
        title=_text(title),
        policy=policy,
        style=style,
        script=script,
        body="\n".join(sections),
    )


def summary_html(summary: Iterable[SummaryPart], heading: str = "h2") -> str:
    """A summary: a section for each table, with the lines below it."""
    sections = [("Result", list[str]())]
    for part in summary:
        if isinstance(part, Table):
            sections.append((part.title, [card(table(part))]))
        elif isinstance(part, str):
            sections[-1][1].append(paragraph(part))
        else:
            pairs = ((name, console.number(value)) for name, value in part.items())
            sections[-1][1].append(card(facts(pairs)))
    return "".join(section(title, *body, heading=heading) for title, body in sections if body)


def figures(pictures: Sequence[Picture]) -> str:
    """The section of the figures, each on a card with its caption; empty without any."""
    cards = "".join(map(_figure, pictures))
    return section("Figures", f'<div class="figures">{cards}</div>') if cards else ""


def _figure(picture: Picture) -> str:
    # A dark page inverts drawings, but no pixels: they may be a photograph.
    kinds = "card" + " wide" * picture.wide + " pixels" * ("<image" in picture.svg)
    svg = base64.b64encode(picture.svg.encode()).decode()
    return (
        f'<figure class="{kinds}"><div class="scroll">'
        f'<img src="data:image/svg+xml;base64,{svg}" alt="{_text(picture.title)}"></div>'
        f"<figcaption><b>{_text(picture.title)}</b>{_text(picture.caption)}</figcaption></figure>"
    )


def folded(details: Table) -> str:
    """The section of a long table, which is folded."""
    every, rows = len(details.rows), details.rows[-MOST_ROWS:]
    words = console.quantity(every, "row")
    if every > len(rows):
        words = f"The last {len(rows):,} of {words}; result.json or a CSV file has all"
    state = " open" if every <= OPEN_ROWS else ""
    inner = table(replace(details, rows=rows), long=True)
    return section(
        details.title, card(f"<details{state}><summary>{words}</summary>{inner}</details>")
    )


def origin(result: Result) -> str:
    """Everything needed to reproduce a run: settings, images, versions, the command."""
    tables = {"Settings": result.settings.effective()}
    for name in ("images", "versions"):
        tables[name.capitalize()] = result.provenance.get(name) or {}
    parts = [
        section(title, card(facts(map(_pair, values.items()), small=True)))
        for title, values in tables.items()
        if values
    ]
    command = result.provenance.get("command")
    if command:
        text = command if isinstance(command, str) else shlex.join(command)
        lines = "\n".join(map(_text, text.split("\n")))
        parts.append(section("Command", card(f"<pre>{lines}</pre>")))
    return "".join(parts)


def _pair(item: tuple[str, object]) -> tuple[str, str]:
    name, value = item
    if isinstance(value, Mapping):
        value = [f"{key} {inner}" for key, inner in value.items()]
    words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return name.replace("_", " "), "not given" if value is None else words


def section(title: str, *parts: str, heading: str = "h2") -> str:
    """``parts``, which are HTML already, under a heading."""
    return f"<section><{heading}>{_text(title)}</{heading}>{''.join(parts)}</section>"


def card(part: str) -> str:
    """A part, which is HTML already, on a card."""
    return f'<div class="card">{part}</div>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; ``kind`` is a class of the page's style."""
    return f"<p{_class(kind)}>{_text(text)}</p>"


def facts(pairs: Iterable[tuple[str, str]], *, small: bool = False) -> str:
    """Short values under their names, side by side."""
    items = (f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts{" small" if small else ""}">{"".join(items)}</dl>'


def table(content: Table, *, long: bool = False) -> str:
    """A table whose headings sort it; None and NaN are empty cells that sort last either way.

    Columns of numbers stand to the right and sort by value. Rows with a reason, which is the last
    column, have failed and are marked. A ``long`` table has a height of its own and scrolls.
    """
    names = [LABELS.get(name, name.replace("_", " ")) for name in content.columns]
    kinds = ["number" if right else "" for right in content.numeric]
    marks = [
        "failed" if names[-1] == "reason" and row[-1] else "rule" * (place == content.rule)
        for place, row in enumerate(content.rows, 1)
    ]
    heads = "".join(
        f'<th scope="col"{_class(kind)}>{_text(name)}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body = "\n".join(
        f"<tr{_class(mark)}>"
        + "".join(_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row, mark in zip(content.rows, marks, strict=True)
    )
    return (
        f'<div class="scroll{" long" if long else ""}" tabindex="0" role="group" '
        f'aria-label="{_text(", ".join(names))}"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(cell: Cell, kind: str) -> str:
    if isinstance(cell, Photo):
        return f'<td><img src="data:image/jpeg;base64,{_text(cell.jpeg)}" alt=""></td>'
    value = cell.value if isinstance(cell, Estimate) else cell
    text = "" if value is None or value != value else console.number(cell)  # NaN
    if kind == "number":
        key = str(value).replace("inf", "Infinity") if text else ""  # as JavaScript writes it
        return f'<td class="number" data-value="{key}">{text}</td>'
    return f"<td{_class('words' if len(text) > 60 else '')}>{_text(text)}</td>"


def _text(text: str) -> str:
    """``text`` escaped for a tag or an attribute, with non-printable characters escaped, too."""
    return escape(legible(text))


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""

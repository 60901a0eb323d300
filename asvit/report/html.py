"""One page that needs nothing else: the parts of a report as HTML, everything escaped."""

import base64
import hashlib
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Generic, TypeVar

from asvit.core import console
from asvit.core.files import write_text
from asvit.core.results import Result
from asvit.core.run_files import REPORT, RESULT
from asvit.core.settings import Settings
from asvit.core.summary import Cell as Cell
from asvit.core.summary import Section, Summary, Table, columns_of_numbers
from asvit.report.pictures import Picture
from proxies.text import legible

R = TypeVar("R", bound=Result)
T = TypeVar("T")


@dataclass(frozen=True)
class Report(Generic[T]):
    """The report of a kind of run: called with a run folder, it writes the report there."""

    # Reads a run folder. Raises FileNotFoundError if there is no folder, or nothing to show yet,
    # and ValueError if a file is malformed.
    read: Callable[[Path], T]
    pictures: Callable[[T], Sequence[Picture]]
    page: Callable[[T, Sequence[Picture]], str]  # the page around them

    def __call__(self, folder: Path | str) -> list[Path]:
        """Write the figures, their rows and the page; return these files, the page last."""
        run = self.read(Path(folder))
        pictures = self.pictures(run)
        return write_files(Path(folder), pictures, self.page(run, pictures))


def check_run(folder: Path, command: str) -> None:
    """Check that there is a run folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder {str(folder)!r}; {command} makes one")


def read_result(folder: Path, kind: type[R], command: str, *beside: str) -> R:
    """The result of a finished run, whose folder must also have the files ``beside``.

    Raises:
        FileNotFoundError: If it has not finished.
        ValueError: If the result cannot be read.
    """
    check_run(folder, command)
    if not all((folder / name).is_file() for name in (RESULT, *beside)):
        raise FileNotFoundError(
            f"{folder} has no finished {kind.noun} yet; the same {command} goes on with it"
        )
    return kind.read(folder / RESULT)


def result_report(
    command: str,
    kind: type[R],
    summary: Callable[[R], Summary],
    pictures: Callable[[R], Sequence[Picture]],
    more: Callable[[R], Iterable[str]] = lambda _: (),
    beside: Sequence[str] = (),
) -> Report[R]:
    """The report of finished runs, made from their results by :func:`result_page`.

    ``more`` returns HTML for the end of the page; the folder must also have the files ``beside``.
    """

    def page_of(result: R, figures: Sequence[Picture]) -> str:
        content = summary(result)
        parts = [*map(section_of, content.sections), *more(result)]
        return result_page(command, result, content.facts, figures, parts)

    return Report(lambda folder: read_result(folder, kind, command, *beside), pictures, page_of)


def result_page(
    command: str,
    result: Result,
    values: Mapping[str, str],
    pictures: Sequence[Picture],
    more: Iterable[str] = (),
) -> str:
    """The page of a run: its facts, its figures, and ``more`` sections as HTML below them."""
    name = result.folder.resolve().name
    parts = [
        header(command, name, (), f"Finished in {duration(result.wall_seconds)}."),
        section("Result", card(facts(values.items()))),
        figures(pictures) if pictures else "",
        *more,
        origin(result.settings, result),
    ]
    return page(f"{name}: {result.noun}", parts)


def summary_parts(parts: Iterable[str | Table]) -> Iterator[str]:
    """The lines and tables of a summary as sections of a page."""
    for part in parts:
        if isinstance(part, str):
            yield paragraph(part)
            continue
        rows = [
            [cell if isinstance(cell, Cell) else str(cell) for cell in row] for row in part.rows
        ]
        yield section(part.title or "", card(table(part.columns, rows)))


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


def figures(pictures: Sequence[Picture], remark: str = "") -> str:
    """The section of the figures below a ``remark``, each on a card with its caption."""
    cards = "".join(map(_figure, pictures))
    return section("Figures", paragraph(remark), f'<div class="figures">{cards}</div>')


def _figure(picture: Picture) -> str:
    kinds = "card" + " wide" * picture.wide + " photograph" * picture.photograph
    svg = base64.b64encode(picture.svg.encode()).decode()
    return (
        f'<figure class="{kinds}"><div class="scroll">'
        f'<img src="data:image/svg+xml;base64,{svg}" alt="{_text(picture.title)}"></div>'
        f"<figcaption><b>{_text(picture.title)}</b>{_text(picture.caption)}</figcaption></figure>"
    )


def left_out(most: int, every: int, noun: str, beside: str) -> str:
    """Says that figures show ``most`` of ``every`` trial; empty if they show all."""
    if every <= most:
        return ""
    return (
        f"The figures and their CSV files show {most} of {every} {noun}, evenly spaced, and "
        f"{beside}; trials.csv has all."
    )


def origin(settings: Settings | Mapping[str, object] | None, result: Result | None) -> str:
    """Everything needed to reproduce a run: settings, images, versions, the command."""
    provenance = result.provenance if result else {}
    values = settings.effective() if isinstance(settings, Settings) else settings or {}
    tables = {"Settings": values}
    tables |= {name.capitalize(): provenance.get(name) or {} for name in ("images", "versions")}
    parts = [
        section(title, card(facts(map(_pair, values.items()), small=True)))
        for title, values in tables.items()
        if values
    ]
    command = provenance.get("command")
    if command:
        parts.append(section("Command", card(code(command))))
    return "".join(parts)


def _pair(item: tuple[str, object]) -> tuple[str, str]:
    name, value = item
    words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return name.replace("_", " "), "not given" if value is None else words


def header(command: str, name: str, facts: Iterable[str], what: str) -> str:
    """The title of the page: the run, its main settings, and its progress."""
    title = f"{paragraph(command, 'quiet')}<h1>{_text(name)}</h1>"
    return title + paragraph(" · ".join(facts), "quiet") + paragraph(what)


def section(title: str, *parts: str) -> str:
    """``parts``, which are HTML already, under a heading."""
    return f"<section><h2>{_text(title)}</h2>{''.join(parts)}</section>"


def section_of(part: Section) -> str:
    """A section of a summary."""
    body = card(table(part.columns, part.rows)) if part.rows else ""
    return section(part.title, paragraph(part.words), body)


def card(*parts: str) -> str:
    """``parts``, which are HTML already, on a card."""
    return f'<div class="card">{"".join(parts)}</div>'


def thumbnails(pictures: Iterable[tuple[str, str, str]]) -> str:
    """Small pictures: each a JPEG in base64, a name, and a caption."""
    cards = (
        f'<figure class="card"><img src="data:image/jpeg;base64,{_text(jpeg)}" alt="">'
        f"<figcaption><b>{_text(name)}</b>{_text(words)}</figcaption></figure>"
        for jpeg, name, words in pictures
    )
    return f'<div class="thumbnails">{"".join(cards)}</div>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; ``kind`` is a class of the page's style: quiet, architecture."""
    return f"<p{_class(kind)}>{_text(text)}</p>" if text else ""


def code(command: str | Sequence[str]) -> str:
    """Command lines."""
    text = command if isinstance(command, str) else shlex.join(command)
    lines = "\n".join(map(_text, text.split("\n")))
    return f"<pre>{lines}</pre>"


def folded(summary: str, part: str, *, unfolded: bool = False) -> str:
    """A card with ``part``, which is HTML already, behind its summary."""
    state = " open" if unfolded else ""
    return card(f"<details{state}><summary>{_text(summary)}</summary>{part}</details>")


def facts(pairs: Iterable[tuple[str, str]], *, small: bool = False) -> str:
    """Short values under their names, side by side."""
    items = (f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts{" small" if small else ""}">{"".join(items)}</dl>'


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    failed: frozenset[int] | set[int] = frozenset(),
    long: bool = False,
) -> str:
    """A table whose headings sort it; None and NaN are empty cells that sort last either way.

    Columns of numbers stand to the right and sort by value, the rows at the places ``failed`` are
    marked, and a ``long`` table has a height of its own and scrolls.
    """
    kinds = ["number" if right else "" for right in columns_of_numbers(columns, rows)]
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
    """``value`` with ``digits`` significant digits, integers in full, None and NaN empty."""
    text = console.number(value, digits)
    return "" if text == console.MISSING else text


def count(number: int, noun: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration for people: ``42 s``, ``26 min``, ``3 h 5 min``."""
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
    """``text`` escaped for a tag or an attribute, with non-printable characters escaped, too."""
    return escape(legible(text))


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""

"""What holds for the report of every kind of run, whatever its folder holds."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hostile_runs import COLOUR, CONTROL, FORMULA, MARKUP, NAME
from rich.console import Console

from asvit.core.console import number
from asvit.core.results import stored_content
from asvit.core.summary import Table
from asvit.report import html, style
from asvit.runs.reporting import kind_of, show
from asvit.runs.reporting import write_report_in as write_report
from asvit.search.rows import TrialRow, write_trials
from proxies.text import legible
from tests.asvit.report.sample_runs import MEASURES, write_sample

DRAWN = ("svg", "g", "defs", "style", "path", "use", "text", "tspan", "clipPath", "rect")
DRAWN += ("metadata", "title", "image")


def test_the_same_run_gives_the_same_bytes(report: Path) -> None:
    first = {path.name: path.read_bytes() for path in report.parent.iterdir()}
    assert write_report(report.parent)[-1] == report
    assert first == {path.name: path.read_bytes() for path in report.parent.iterdir()}


def test_nothing_is_asked_of_a_network(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import", text)
    assert not re.search(r'\b(src|href)="(?!data:image/(jpeg|svg\+xml);base64,)', text)
    assert text.count("data:image/svg+xml") == len(list(report.parent.glob("*.svg")))


class Found(HTMLParser):
    """What of HTML could act, and its text; scripts are read as browsers read them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts = 0
        self.wrong: list[str] = []
        self.words: list[str] = []
        self.numbers: list[str] = []  # by which cells are sorted
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.scripts += tag == "script"
        source = dict(attrs).get("src") or ""
        embedded = re.fullmatch(r"data:image/(jpeg|svg\+xml);base64,[\w+/=]+", source)
        strange = "iframe", "object", "embed", "link", *["img"] * (embedded is None)
        self.wrong += [f"<{tag}>"] * (tag in strange) + [source] * bool(source and not embedded)
        self.wrong += [name for name, _ in attrs if name.startswith("on")]
        self.numbers += [value for name, value in attrs if name == "data-value"]

    handle_startendtag = handle_starttag

    def handle_data(self, data) -> None:
        self.words.append(data)


def read(page: Path) -> Found:
    return Found(page.read_text(encoding="utf-8"))


def texts_of(summary: Iterable[Any]) -> list[str]:
    """Every line, title, fact and text of a cell."""
    found: list[str] = []
    for part in summary:
        if isinstance(part, Table):
            found += [
                part.title,
                *(cell for row in part.rows for cell in row if type(cell) is str),
            ]
        elif isinstance(part, str):
            found.append(part)
        else:
            found += [text for pair in part.items() for text in (pair[0], number(pair[1]))]
    return [legible(text) for text in found]


def test_console_notebook_and_page_show_the_same_summary(report: Path) -> None:
    kind = kind_of(report.parent)
    result = kind.result_type.read(report.parent / "result.json")
    show(kind, result, Console(file=(printed := io.StringIO()), width=1000))
    notebook = Found(result._repr_html_())
    expected = texts_of(kind.summary(result))
    assert expected
    for shown in (printed.getvalue(), "\n".join(notebook.words), "\n".join(read(report).words)):
        assert [text for text in expected if text not in shown] == []
    assert notebook.wrong == []
    assert set(notebook.numbers) <= set(read(report).numbers)
    assert notebook.scripts == 0


# Some numbers of result.json, which are in tables of the page or among its facts.
NUMBERS: dict[str, Callable[[Any], Iterable[Any]]] = {
    "search": lambda r: [
        v for one in r["finalists"] for v in (one["params"], *one["values"].values())
    ],
    "scale": lambda r: [s[n] for s in r["steps"] for n in ("params", "macs", *MEASURES)],
    "correlate": lambda r: [
        row[n] for row in r["correlations"] for n in ("n", "tau", "difference")
    ],
    "evolution": lambda r: [*[row["best"] for row in r["generations"]], r["params"]],
    "training": lambda r: [r["history"][-1][name] for name in ("train_loss", "loss", "top1")],
    "supernet": lambda r: [r["params"]],
    "reference": lambda r: sorted(row["accuracy"] or 0 for row in r["rows"])[-10:],
    "design": lambda r: [r[name] for name in ("params", "macs", "latency_ms", "accuracy")],
    "detection": lambda r: [r["params"], r["classes"]],
    "test": lambda r: [r["loss"], *(row["f1"] for row in r["per_class"])],
}


def test_numbers_on_the_page_are_those_of_the_result(report: Path) -> None:
    content, page = stored_content(report.parent / "result.json"), read(report)
    expected = [value for value in NUMBERS[report.parent.name](content) if value is not None]
    assert expected
    facts = "\n".join(page.words)
    for value in expected:
        assert str(value) in page.numbers or number(value) in facts, value


def test_hostile_texts_are_texts(hostile: Path) -> None:
    found = read(hostile)
    assert found.wrong == []
    assert found.scripts == 1  # our own
    words = "".join(found.words)
    for text in (MARKUP, FORMULA, legible(CONTROL), COLOUR, legible(NAME)):
        assert text in words
    assert words.replace("\n", "").isprintable()
    kind = kind_of(hostile.parent)
    notebook = Found(kind.html(kind.result_type.read(hostile.parent / "result.json")))
    assert (notebook.wrong, notebook.scripts) == ([], 0)


def long_search(folder: Path) -> int:
    """Write a search of 400 trials, one of which, in a place of its own, is the front."""
    write_sample("search", folder)
    best, architecture = 151, "8,2,3|4,1,2|4,1,4|4,1,6|32"
    rows = [
        TrialRow(
            *(step, architecture, 10, 20, dict(zip(MEASURES, values, strict=True)), 0.0, 9.0),
            *("complete", ""),
        )
        for step in range(400)
        for values in [(50.0, 0.5) if step == best else (1.0 + step % 7, 2.0 + step % 5)]
    ]
    write_trials(folder / "trials.csv", rows, MEASURES)
    content = stored_content(folder / "result.json") | {"steps": len(rows)}
    (folder / "result.json").write_bytes(json.dumps(content).encode())
    return best


def test_a_long_run_has_all_in_files_and_some_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "MOST_DOTS", 20)
    monkeypatch.setattr(html, "MOST_ROWS", 30)
    best = long_search(tmp_path / "run")
    text = write_report(tmp_path / "run")[-1].read_text(encoding="utf-8")
    assert "The last 30 of 400 rows; result.json or a CSV file has all" in text
    with (tmp_path / "run" / "front.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(400))
    assert [int(row["step"]) for row in rows if row["on_front"] == "True"] == [best]
    assert "20 of 100 points" in (tmp_path / "run" / "front.svg").read_text(encoding="utf-8")


def refused(folder: Path, error: type[Exception], words: str) -> None:
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(error, match=words) as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("kind", ["search", "training"])
def test_a_run_without_a_result_is_named_and_left_alone(tmp_path: Path, kind: str) -> None:
    folder = write_sample(kind, tmp_path / "run")
    (folder / "result.json").write_text("{")
    refused(folder, ValueError, r"result\.json is not the result of an? .* that this version can")
    (folder / "result.json").unlink()
    refused(folder, FileNotFoundError, r"run has no finished .* yet; the same asvit .* goes on")

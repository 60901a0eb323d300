"""What holds for the report of every kind of run, whatever its folder holds."""

import csv
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hostile_runs import COLOUR, CONTROL, FORMULA, MARKUP, NAME, SURROGATE, write_hostile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from asvit.core.results import stored_content
from asvit.reference.result import CorrelationResult
from asvit.report import correlate, evolution, scale, search
from asvit.report.scale import read_scaling
from asvit.report.search import read_run
from asvit.runs.run import write_report
from asvit.search.supernet_result import EvolutionResult, PathRow, generations_of, write_paths
from proxies.text import legible
from tests.asvit.report.sample_runs import MEASURES, write_sample
from tests.hostile import FIXED, changed_json, refused_or, sealed_result

PAGES: dict[str, Callable[[Path], str]] = {
    "search": lambda folder: search.page(read_run(folder), []),
    "scale": lambda folder: scale.page(read_scaling(folder), []),
    "correlate": lambda folder: correlate.page(CorrelationResult.read(folder / "result.json"), []),
    "evolution": lambda folder: evolution.write_evolution_report.page(
        EvolutionResult.read(folder / "result.json"), []
    ),
}
SVG = "{http://www.w3.org/2000/svg}"
DRAWN = ("svg", "g", "defs", "style", "path", "use", "text", "tspan", "clipPath", "rect")
DRAWN += ("metadata", "title")


def test_the_same_run_gives_the_same_bytes(report: Path) -> None:
    first = {path.name: path.read_bytes() for path in report.parent.iterdir()}
    assert write_report(report.parent)[-1] == report
    assert first == {path.name: path.read_bytes() for path in report.parent.iterdir()}


def test_nothing_is_asked_of_a_network(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert not re.search(r"https?://", text)
    assert not re.search(r'\b(src|href)="(?!data:image/(jpeg|svg\+xml);base64,)', text)
    assert text.count("data:image/svg+xml") == len(list(report.parent.glob("*.svg")))


class Found(HTMLParser):
    """What of a page could act, and its text; scripts are read as browsers read them."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.scripts = 0
        self.wrong: list[str] = []
        self.words: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.scripts += tag == "script"
        source = dict(attrs).get("src") or ""
        embedded = re.fullmatch(r"data:image/(jpeg|svg\+xml);base64,[\w+/=]+", source)
        strange = "iframe", "object", "embed", "link", *["img"] * (embedded is None)
        self.wrong += [f"<{tag}>"] * (tag in strange) + [source] * bool(source and not embedded)
        self.wrong += [name for name, _ in attrs if name.startswith("on")]

    handle_startendtag = handle_starttag

    def handle_data(self, data) -> None:
        self.words.append(data)


def test_hostile_texts_are_texts(hostile: Path) -> None:
    found = Found(hostile)
    assert found.wrong == []
    assert found.scripts == 1  # our own
    words = "".join(found.words)
    for text in (MARKUP, FORMULA, legible(CONTROL), COLOUR, legible(NAME)):
        assert text in words
    assert words.replace("\n", "").isprintable()


def test_figures_are_whole_files_of_shapes_and_words(hostile: Path) -> None:
    files = sorted(hostile.parent.glob("*.svg"))
    assert files
    for path in files:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        drawn = {node.tag for node in root.iter() if node.tag.startswith(SVG)}
        assert drawn <= {f"{SVG}{name}" for name in DRAWN}
        assert not [name for node in root.iter() for name in node.attrib if name.startswith("on")]


@pytest.mark.parametrize("kind", ["search", "scale", "correlate"])
def test_formulas_are_not_set(tmp_path: Path, kind: str) -> None:
    folder = write_hostile(kind, tmp_path / kind, FORMULA)
    write_report(folder)
    roots = [ElementTree.fromstring(path.read_text("utf-8")) for path in folder.glob("*.svg")]
    nodes = [node for root in roots for node in root.iter(f"{SVG}text")]
    assert any(FORMULA in "".join(node.itertext()) for node in nodes)


def test_halves_of_characters_are_written_out(tmp_path: Path) -> None:
    folder = write_hostile("search", tmp_path / "run", SURROGATE)
    page = write_report(folder)[-1]
    for path in (page, folder / "measures.svg", folder / "measures.csv"):
        assert r"a\ud800b" in path.read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=PAGES)
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of each kind, called as the kind."""
    return write_sample(request.param, tmp_path_factory.mktemp("sample") / request.param)


@FIXED
@given(data=st.data())
def test_a_page_is_made_or_refused_in_one_line(sample: Path, data: DataObject) -> None:
    result = sample / "result.json"
    right = result.read_bytes()
    changed = data.draw(changed_json(stored_content(result)))
    try:
        result.write_bytes(sealed_result(changed))
        page = refused_or(lambda: PAGES[sample.name](sample))
    finally:
        result.write_bytes(right)
    assert page is None or page.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"params": None}, "params may not be None"),
        ({"entropy": {"first": 1.0}}, "it has no 'last'"),
        ({"values": {"length_distortion": 1.0}}, "it has no 'ntk_condition_number'"),
        ({"values": dict.fromkeys(MEASURES, "<b>")}, "values.length_distortion may not be"),
        ({"images": []}, "images may not be"),
        ({"command": 5}, "command may not be 5"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    folder = write_sample("search", tmp_path / "run")
    right = stored_content(folder / "result.json")

    def refused(content: dict[str, object], words: str) -> None:
        (folder / "result.json").write_bytes(sealed_result(content))
        with pytest.raises(ValueError, match=words) as caught:
            read_run(folder)
        assert "\n" not in str(caught.value)

    refused(right | change, words)
    for name in ("tau_interval", "difference_interval"):
        content = json.loads(json.dumps(right))
        content["reliability"]["measures"][0][name] = [1.0]
        refused(content, f"{name} may not be")
    del right["steps"]
    refused(right, "has no 'steps'")


def long_evolution(folder: Path, paths: int) -> int:
    """Write the sample with so many paths, one of which, in a place of its own, is the winner."""
    write_sample("evolution", folder)
    rows = [
        PathRow(place, 1 + place // 50, "mutation", f"psvit2d:{place}", "b|s|b", place, place % 97)
        for place in range(paths)
    ]
    winner = paths // 2 + 1
    (folder / "trials.csv").write_text(write_paths(rows), encoding="utf-8")
    content = stored_content(folder / "result.json")
    content |= {"architecture": f"psvit2d:{winner}", "evaluated": paths}
    content["generations"] = [vars(one) for one in generations_of(rows)]
    (folder / "result.json").write_bytes(sealed_result(content))
    return winner


def test_a_long_evolution_is_thinned_but_keeps_the_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evolution, "MOST_PATHS", 20)
    monkeypatch.setattr(evolution, "MOST_ROWS", 30)
    winner = long_evolution(tmp_path / "run", 400)
    text = write_report(tmp_path / "run")[-1].read_text(encoding="utf-8")
    assert "show 20 of 400 paths, evenly spaced, and the winner; trials.csv has all" in text
    assert "The last 30 of 400 paths; trials.csv has all" in text
    with (tmp_path / "run" / "costs.csv").open(encoding="utf-8") as file:
        shown = [int(row["number"]) for row in csv.DictReader(file)]
    assert {0, winner, 399} <= set(shown)
    assert shown == sorted(shown)
    assert len(shown) == 21


UNREADABLE = r"result\.json is not the result of {} that this version can"


@pytest.mark.parametrize(
    ("kind", "changes", "error", "words"),
    [
        ("search", {"trials.csv": None}, FileNotFoundError, "no trials.csv"),
        ("search", {"trials.csv": "a,b\n1,2\n"}, ValueError, "trials"),
        ("search", {"result.json": "{"}, ValueError, UNREADABLE.format("a search")),
        ("search", {"result.json": "[]"}, ValueError, UNREADABLE.format("a search")),
        ("scale", {"result.json": "{"}, ValueError, UNREADABLE.format("a scaling")),
        (
            "scale",
            {"result.json": None, "steps.csv": None, "measured.jsonl": ""},
            OSError,
            r"has no steps\.csv",
        ),
        ("scale", {"result.json": None, "steps.csv": "a,b\n"}, ValueError, r"s\.csv: not a table"),
        (
            "scale",
            {"result.json": None, "candidates.csv": "a,b\n"},
            ValueError,
            r"candidates\.csv: not a table",
        ),
        ("correlate", {"result.json": None}, OSError, "has no finished correlation yet"),
        ("correlate", {"values.csv": None}, OSError, "has no finished correlation yet"),
        ("correlate", {"values.csv": "a,b\n"}, ValueError, r"values\.csv: not a table of values"),
        ("correlate", {"result.json": "{"}, ValueError, UNREADABLE.format("a correlation")),
        (
            "correlate",
            {"result.json": '{"kind": 1}'},
            ValueError,
            UNREADABLE.format("a correlation") + " .*it has no digest",
        ),
        ("evolution", {"result.json": None}, OSError, "has no finished evolution yet"),
        ("evolution", {"trials.csv": None}, OSError, "has no finished evolution yet"),
        ("evolution", {"result.json": "{}"}, ValueError, UNREADABLE.format("an evolution")),
    ],
)
def test_a_broken_folder_is_named_and_left_alone(
    tmp_path: Path,
    kind: str,
    changes: dict[str, str | None],
    error: type[Exception],
    words: str,
) -> None:
    folder = write_sample(kind, tmp_path / "run")
    for name, content in changes.items():
        (folder / name).write_text(content or "")
        if content is None:
            (folder / name).unlink()
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(error, match=words):
        write_report(folder)
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (search, "search"),
        (scale, "scale"),
        (correlate, "correlation"),
        (evolution, "evolution"),
    ],
)
def test_no_folder(tmp_path: Path, module, kind: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"no run folder .*nowhere'; asvit .* makes one"):
        getattr(module, f"write_{kind}_report")(tmp_path / "nowhere")

"""No text in a run folder, whatever it holds, is more than text in the report of any kind."""

from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hostile_runs import COLOUR, CONTROL, FORMULA, MARKUP, NAME, SURROGATE, write_hostile

from asvit.report import write_report
from proxies.messages import legible

SVG = "{http://www.w3.org/2000/svg}"
DRAWN = ("svg", "g", "defs", "style", "path", "use", "text", "tspan", "clipPath", "rect")
DRAWN += ("metadata",)


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
        self.wrong += [f"<{tag}>"] * (tag in ("img", "iframe", "object", "embed", "link"))
        self.wrong += [name for name, _ in attrs if name.startswith("on") or name == "src"]

    handle_startendtag = handle_starttag

    def handle_data(self, data) -> None:
        self.words.append(data)


def words_in(figure: Path) -> list[str]:
    root = ElementTree.fromstring(figure.read_text(encoding="utf-8"))
    return ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]


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
    assert any(FORMULA in words for path in folder.glob("*.svg") for words in words_in(path))


def test_halves_of_characters_are_written_out(tmp_path: Path) -> None:
    folder = write_hostile("search", tmp_path / "run", SURROGATE)
    page = write_report(folder)[-1]
    for path in (page, folder / "measures.svg", folder / "measures.csv"):
        assert r"a\ud800b" in path.read_text(encoding="utf-8")

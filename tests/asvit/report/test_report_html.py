"""The parts of the page: escaping, theming, sorting keys."""

import base64
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from asvit.core.estimates import Estimate
from asvit.core.summary import Photo, Table
from asvit.report import html
from asvit.report.pictures import Picture
from asvit.training.result import TrainResult
from proxies.text import legible
from tests.asvit.runs.stored_results import RIGHT

NASTY = '<script>alert("1")</script>&amp;\'"'
VOID = {"meta", "br", "img", "input", "hr", "link"}


class Tags(HTMLParser):
    """Collects the text and every tag, and fails on one that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.words.append(data)


@given(st.text())
def test_cells_are_text_whatever_they_hold(text: str) -> None:
    parsed = Tags(html.table(Table([text], [[text]])))
    assert set(parsed.seen) == {"div", "table", "thead", "tbody", "tr", "th", "td"}
    assert legible(text) in "".join(parsed.words)


def test_everything_is_escaped() -> None:
    table = Table([NASTY, "image"], [[NASTY, Photo(NASTY)]], NASTY)
    result = replace(
        RIGHT[TrainResult][0], provenance={"command": NASTY, "images": {NASTY: NASTY}}
    )
    parts = [
        html.summary_html([{NASTY: NASTY}, NASTY, table]),
        html.folded(table),
        html.figures([picture(NASTY)]),
        html.origin(result),
    ]
    for part in parts:
        assert "script" not in Tags(part).seen
    page = html.page(NASTY, parts)
    assert Tags(page).seen.count("script") == 1  # our own


def test_numbers_sort_by_value_and_absent_ones_have_no_key() -> None:
    values = [1234567, 0.5, Estimate(0.5123, 0.38, 0.59), math.inf, math.nan, None]
    values.append(Estimate(math.nan, math.nan, math.nan))
    text = html.table(Table(["n"], [[value] for value in values]))
    assert re.findall(r'data-value="([^"]*)">([^<]*)<', text) == [
        *[("1234567", "1,234,567"), ("0.5", "0.5"), ("0.5123", "0.512 [0.38, 0.59]")],
        *[("Infinity", "inf"), ("", ""), ("", ""), ("", "")],
    ]


def picture(svg: str, **kind: bool) -> Picture:
    made = Picture("name", NASTY, NASTY, Figure, ((), Picture), **kind)
    vars(made)["svg"] = svg
    return made


def test_a_figure_stands_on_the_page_as_its_file() -> None:
    made = html.figures([picture("<svg/>", wide=True), picture("<b/>")])
    sources = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', made)
    assert [base64.b64decode(one) for one in sources] == [b"<svg/>", b"<b/>"]
    assert re.findall('figure class="([^"]*)"', made) == ["card wide", "card"]

"""The parts of the page: escaping, theming, sorting keys."""

import base64
import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from page_colours import CSS, THEMES, contrast, rgb

from asvit.report import html
from asvit.report.pictures import Picture
from proxies.text import legible

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
    parsed = Tags(html.table([text], [[text]]))
    assert set(parsed.seen) == {"div", "table", "thead", "tbody", "tr", "th", "td", "button"}
    assert "".join(parsed.words).count(legible(text)) >= 2 or not text


def test_everything_is_escaped() -> None:
    parts = [
        html.table([NASTY], [[NASTY]]),
        html.facts([(NASTY, NASTY)]),
        html.figures([picture(NASTY)]),
        html.header(NASTY, NASTY, [NASTY], NASTY),
        html.origin({NASTY: NASTY}, None),
    ]
    for part in parts:
        assert "script" not in Tags(part).seen
    page = html.page(NASTY, parts)
    assert Tags(page).seen.count("script") == 1  # our own


def test_numbers_sort_by_value_and_absent_ones_have_no_key() -> None:
    cells = re.findall(
        r'data-value="([^"]*)">([^<]*)<',
        html.table(["n"], [[1234567], [0.5], [math.nan], [None]]),
    )
    assert cells == [("1234567", "1,234,567"), ("0.5", "0.5"), ("", ""), ("", "")]


def test_failed_rows_are_marked() -> None:
    text = html.table(["n"], [["a"], ["b"]], failed={1})
    assert re.findall(r'<tr( class="failed")?><td', text) == ["", ' class="failed"']


def picture(svg: str, **kind: bool) -> Picture:
    made = Picture("name", NASTY, NASTY, Figure, ((), Picture), **kind)
    vars(made)["svg"] = svg
    return made


def test_a_figure_stands_on_the_page_as_its_file() -> None:
    made = html.figures([picture("<svg/>", wide=True), picture("<b/>", photograph=True)])
    sources = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', made)
    assert [base64.b64decode(one) for one in sources] == [b"<svg/>", b"<b/>"]
    assert re.findall('figure class="([^"]*)"', made) == ["card wide", "card photograph"]


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
def test_texts_of_the_page_stand_out(theme: dict[str, str]) -> None:
    assert {"ink", "muted", "first", "bad", "card", "page", "grid"} == set(theme)
    for role in ("ink", "muted", "first", "bad"):
        assert contrast(rgb(theme[role]), rgb(theme["card"])) > 4.5
        assert contrast(rgb(theme[role]), rgb(theme["page"])) > 4.5


def test_page_has_both_themes_and_asks_nobody() -> None:
    page = html.page("t", ["<p>x</p>"])
    assert CSS in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r'(src|href)="|@import|https?://', page)


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12"), (12345.678, "12,346"), (0.000123456, "0.0001235"), (None, "")]
)
def test_number(value: float | None, text: str) -> None:
    assert html.number(value) == text

"""The parts of the page: escaping, theming, sorting keys."""

import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.report import html
from asvit.report.style import PALETTE
from proxies.messages import legible

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
    svg = "<svg></svg>"
    parts = [
        html.table([NASTY], [[NASTY]]),
        html.facts([(NASTY, NASTY)]),
        html.inline_svg(svg, name="n", title=NASTY),
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
        html.table(["n"], [[1234567], [0.5], [math.nan], [None]], numeric={"n"}),
    )
    assert cells == [("1234567", "1,234,567"), ("0.5", "0.5"), ("", ""), ("", "")]


def test_failed_rows_are_marked() -> None:
    text = html.table(["n"], [["a"], ["b"]], failed={1})
    assert re.findall(r'<tr( class="failed")?><td', text) == ["", ' class="failed"']


def test_inline_svg_follows_the_theme_and_keeps_its_ids_apart() -> None:
    source = (
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg xmlns:xlink="x" width="6pt" height="3pt" '
        'viewBox="0 0 6 3"><defs><path id="m1"/></defs>'
        f'<use xlink:href="#m1" style="fill: {PALETTE["first"][0]}"/>'
        '<g clip-path="url(#m1)"/></svg>'
    )
    made = html.inline_svg(source, name="front", title="The front")
    assert made.startswith('<svg role="img" aria-label="The front"')
    assert 'id="front-m1"' in made
    assert 'xlink:href="#front-m1"' in made
    assert "url(#front-m1)" in made
    assert "fill: var(--first)" in made
    assert re.findall(r'"[^"]*6pt[^"]*"', made) == ['"--natural: 6pt"']
    assert "viewBox" in made


def test_page_has_both_themes_and_asks_nobody() -> None:
    page = html.page("t", ["<p>x</p>"])
    for light, dark in PALETTE.values():
        assert light in page
        assert dark in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r'(src|href)="|@import|https?://', page)


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12"), (12345.678, "12,346"), (0.000123456, "0.0001235"), (None, "")]
)
def test_number(value: float | None, text: str) -> None:
    assert html.number(value) == text

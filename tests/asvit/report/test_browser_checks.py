"""The checks of pages find what they look for: each sees a page that is wrong in its way."""

from pathlib import Path

import pytest
from page_checks import faint_texts, figures_that_do_not_show, unreadable_texts

from experiments.browser import PHONE, Browser

PLAIN = "<body style='margin: 0; font-size: 15px; background: #fff; color: #000'>"
SVG = "<figure><div class=scroll><svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 40 20' "


@pytest.fixture
def show(browser: Browser, tmp_path: Path):
    """Shows the body of a page."""

    def shown(body: str, **wishes) -> None:
        page = tmp_path / "page.html"
        viewport = "<meta name=viewport content='width=device-width, initial-scale=1'>"
        page.write_text(f"<!doctype html>{viewport}{PLAIN}{body}")
        browser.open(page, **wishes)

    return shown


def test_a_page_without_faults(browser: Browser, show) -> None:
    show(f"<p>words</p>{SVG} width=40><path d='M0 0L40 20' stroke='red'/></svg></div></figure>")
    assert figures_that_do_not_show(browser) == []
    assert faint_texts(browser) == unreadable_texts(browser) == []
    assert browser.complaints() == []
    assert len(browser.requests()) == 1


def test_an_exception_and_a_warning_are_heard(browser: Browser, show) -> None:
    show("<script>console.error('careful'); null.missing</script>")
    first, second = browser.complaints()
    assert "careful" in first
    assert "TypeError" in second


@pytest.mark.parametrize(
    "body",
    [
        "<img src='http://example.invalid/x.png'>",
        "<link rel=stylesheet href='https://example.invalid/x.css'>",
        "<script>fetch('http://example.invalid/').catch(() => 0)</script>",
        "<p style='background: url(other.png)'>words",
    ],
)
def test_a_request_is_seen(browser: Browser, show, body: str) -> None:
    show(body)
    assert len(browser.requests()) > 1


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (" width=0></svg>", "is empty"),
        (" width=40></svg>", "is empty"),
        (" width=40><path d='M0 0L9 9'/><use xlink:href='#lost'/></svg>", "lacks #lost"),
        (" width=40><path d='M0 0L9 9'/><text x=30 y=9>Wide</text></svg>", "is cut off"),
    ],
)
def test_a_figure_that_does_not_show(browser: Browser, show, inside: str, words: str) -> None:
    show(SVG + inside)
    assert any(words in one for one in figures_that_do_not_show(browser))


@pytest.mark.parametrize("away", [0, 5000])
def test_a_text_of_a_figure_is_on_its_card(browser: Browser, show, away: int) -> None:
    card = f"<div style='margin-top: {away}px; background: #000'>{SVG} width=400><g>"
    show(f"{card}<text y=9 font-size=9 fill='#fff'>words</text></g></svg></div>")
    assert faint_texts(browser) == []
    show(f"{card}<text y=9 font-size=9 fill='#333'>words</text></g></svg></div>")
    assert len(faint_texts(browser)) == 1


def test_a_figure_beside_the_page(browser: Browser, show) -> None:
    show(f"<div style='margin-left: 2000px'>{SVG} width=40><path d='M0 0L9 9'/></svg>")
    assert [one[-18:] for one in figures_that_do_not_show(browser)] == ["is beside the page"]


@pytest.mark.parametrize(
    ("body", "ratio"),
    [
        ("<p style='color: #fff'>words", "1.00"),
        ("<p style='color: #777'>words", "4.48"),
        ("<p style='color: #949494; background: #222; color: #666'>words", "2.77"),
        ("<p style='color: rgba(0, 0, 0, 0.5)'>words", "3.98"),
        ("<div style='background: #888'><p>behind</div><p style='color: #aaa'>words", "2.32"),
        (
            f"{SVG} width=400><rect width=40 height=20 fill='#00f'/>"
            "<text y=9 font-size=9 fill='#000'>words</text></svg>",
            "2.44",
        ),
    ],
)
def test_a_faint_text(browser: Browser, show, body: str, ratio: str) -> None:
    show(body)
    assert [one.rpartition(" ")[2] for one in faint_texts(browser)] == [ratio]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<p style='font-size: 11px'>words", "is of 11.0 px"),
        (f"{SVG} width=40><text y=15 font-size=11>w</text></svg>", "is of 11.0 px"),
        ("<p style='width: 500px'>words", "the page is 50"),
        ("<p style='position: relative; left: -9px'>words", "sticks out"),
        ("<div class=scroll style='width: 50px'><p style='width: 90px'>a", "is wider than its"),
    ],
)
def test_a_text_that_cannot_be_read(browser: Browser, show, body: str, words: str) -> None:
    show(body, width=PHONE)
    assert any(words in one for one in unreadable_texts(browser))

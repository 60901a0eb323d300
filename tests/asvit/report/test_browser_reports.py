"""Reports of every kind as a browser shows them: figures, console, themes, phone and paper."""

from pathlib import Path

import pytest
from page_checks import faint_texts, figures_that_do_not_show, unreadable_texts

from experiments.browser import DESKTOP, PHONE, Browser

PAPER = 718  # pixels: A4 less its margins


def test_every_figure_shows(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert browser.ask("return document.querySelectorAll('figure svg').length") > 0
    assert figures_that_do_not_show(browser) == []


def test_nothing_is_asked_for_and_nothing_goes_wrong(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.ask("for (const one of document.querySelectorAll('th button')) one.click();")
    assert browser.complaints() == []
    assert browser.requests() == [report.resolve().as_uri()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out(browser: Browser, report: Path, dark: bool) -> None:
    browser.open(report, height=20_000, dark=dark)
    ground = browser.ask("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(14, 18, 23)" if dark else "rgb(246, 247, 248)")
    assert faint_texts(browser) == []


@pytest.mark.parametrize("width", [PHONE, 768, DESKTOP])
def test_everything_can_be_read_at_any_width(browser: Browser, report: Path, width: int) -> None:
    browser.open(report, width=width)
    assert unreadable_texts(browser) == []
    assert figures_that_do_not_show(browser) == []


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_what_scrolls_sideways_says_so(browser: Browser, report: Path, width: int) -> None:
    browser.open(report, width=width)
    wrong, hints = browser.ask(
        "const boxes = [...document.querySelectorAll('.scroll')];"
        "const told = box => getComputedStyle(box, '::before').content.includes('sideways');"
        "const wide = box => box.scrollWidth > box.clientWidth + 1;"
        "return [boxes.filter(box => told(box) !== wide(box)).length, boxes.filter(told).length];"
    )
    assert wrong == 0
    assert hints > 0 or width == DESKTOP


def test_paper_is_light_and_nothing_is_cut_off(browser: Browser, report: Path) -> None:
    browser.open(report, width=PAPER, height=20_000, dark=True, printed=True)
    assert faint_texts(browser) == []
    assert unreadable_texts(browser, least=6) == []
    assert browser.pdf().startswith(b"%PDF")

"""Reports in a browser: texts, tables, charts; hostile texts do nothing but stand there."""

import math
from pathlib import Path

import pytest
from hostile_runs import MARKUP, NAME
from page_checks import (
    faint_texts,
    faults_of_drawing,
    figures_that_do_not_show,
    unreadable_texts,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from asvit.core.summary import Cell, Table
from asvit.report import html
from proxies.text import legible
from tests.asvit.report.browser import PHONE, Browser

PAPER = 718  # pixels: A4 less its margins


def requests(browser: Browser) -> list[str]:
    """Addresses that the page asked for, but for pictures that it holds itself."""
    return [one for one in browser.requests() if not one.startswith("data:image/")]


def test_every_drawing_is_whole(browser: Browser, report: Path) -> None:
    for path in report.parent.glob("*.svg"):
        browser.open(path)
        assert faults_of_drawing(browser) == [], path.name


def test_every_text_and_figure_shows_on_a_dark_phone(browser: Browser, report: Path) -> None:
    browser.open(report, width=PHONE, dark=True)
    assert figures_that_do_not_show(browser) == []
    assert faint_texts(browser) == unreadable_texts(browser) == []
    assert browser.complaints() == []
    assert requests(browser) == [report.resolve().as_uri()]


def test_paper_is_light_and_nothing_is_cut_off(browser: Browser, report: Path) -> None:
    browser.open(report, width=PAPER, height=20_000, dark=True, printed=True)
    assert faint_texts(browser) == []
    assert unreadable_texts(browser, least=6) == []
    assert browser.pdf().startswith(b"%PDF")


ROWS: list[list[Cell]] = [
    ["net 10", 9.0, 10],
    ["net 2", math.nan, 2],
    ["", -math.inf, 30],
    ["Äther", 1e-7, 4],
    ["net 1", None, 5],
    ["zebra", 1234567.5, 6],
    ["alpha", math.inf, 7],
    ["beta", -3.0, 1_000_000],
]
BY_VALUE = [30, 1_000_000, 4, 10, 6, 7]


@pytest.fixture
def table(browser: Browser, tmp_path: Path) -> Browser:
    """A browser that shows a page with two tables."""
    columns = ["name", "value", "number"]
    first = html.table(Table(columns, ROWS))
    second = html.table(Table(["name"], [["b"], ["a"]]))
    page = tmp_path / "page.html"
    page.write_text(html.page("tables", [first, second]), encoding="utf-8")
    browser.open(page)
    return browser


def numbers(browser: Browser) -> list[int]:
    script = "return [...arguments[0].rows].map(row => Number(row.lastChild.dataset.value))"
    return browser.ask(script, browser.driver.find_element(By.TAG_NAME, "tbody"))


def order(browser: Browser) -> list[str | None]:
    heads = browser.driver.find_elements(By.TAG_NAME, "th")
    return [head.get_attribute("aria-sort") for head in heads]


def test_numbers_sort_by_value_and_absent_ones_stay_last(table: Browser) -> None:
    button = table.driver.find_elements(By.CSS_SELECTOR, "th button")[1]
    button.click()
    assert numbers(table) == [*BY_VALUE, 2, 5]
    assert order(table) == [None, "ascending", None, None]
    button.click()
    assert numbers(table) == [*reversed(BY_VALUE), 2, 5]
    assert order(table) == [None, "descending", None, None]


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE], ids=["enter", "space"])
def test_the_keyboard_reaches_the_headings_and_presses_them(table: Browser, key: str) -> None:
    for _ in range(3):  # the box that scrolls, the first heading, the second one
        table.driver.switch_to.active_element.send_keys(Keys.TAB)
    focused = table.driver.switch_to.active_element
    assert focused.text == "value"
    assert table.ask("return getComputedStyle(arguments[0]).outlineStyle", focused) == "solid"
    focused.send_keys(key)
    assert numbers(table) == [*BY_VALUE, 2, 5]
    assert table.driver.switch_to.active_element == focused
    focused.send_keys(key)
    assert order(table)[1] == "descending"


def test_no_script_runs_and_nothing_is_asked_for(browser: Browser, hostile: Path) -> None:
    browser.open(hostile)
    assert browser.ask("return window.ran ?? 'nothing'") == "nothing"
    assert browser.complaints() == []
    assert requests(browser) == [hostile.resolve().as_uri()]
    assert browser.ask("return document.scripts.length") == 1
    assert (
        browser.ask(
            "return document.querySelectorAll('img:not([src^=data]), b:not(figcaption b)').length"
        )
        == 0
    )
    assert browser.ask("return document.title").startswith(legible(NAME))
    assert MARKUP in browser.ask("return document.querySelector('main').textContent")


def test_what_is_not_escaped_still_cannot_run_or_ask(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    table = html.table(Table(["name"], [["b"], ["a"]]))
    page.write_text(html.page("title", ["<link rel=stylesheet href=y.css>", table, MARKUP]))
    browser.open(page)
    assert browser.ask("return document.querySelectorAll('img').length") == 1
    assert browser.ask("return window.ran ?? 'nothing'") == "nothing"
    refused = browser.complaints()
    assert all("Content Security Policy" in told for told in refused)
    for name in ("inline script", "inline event handler", "/x'", "/y.css'"):
        assert any(name in told for told in refused)
    browser.ask("document.querySelector('th button').click()")  # our own script does
    assert browser.ask("return document.querySelector('td').textContent") == "a"

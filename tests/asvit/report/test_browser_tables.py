"""Tables of reports sort when their headings are clicked, or pressed with a key."""

import math
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from asvit.report import html
from experiments.browser import Browser

ROWS: list[list[html.Cell]] = [
    ["net 10", 9.0, 10],
    ["net 2", math.nan, 2],
    ["", -math.inf, 30],
    ["Äther", 1e-7, 4],
    ["net 1", None, 5],
    ["zebra", 1234567.5, 6],
    ["alpha", math.inf, 7],
    ["beta", -3.0, 1_000_000],
]
# The last column tells the rows apart.
BY_NAME = [7, 4, 1_000_000, 5, 2, 10, 6]
BY_VALUE = [30, 1_000_000, 4, 10, 6, 7]


@pytest.fixture
def table(browser: Browser, tmp_path: Path) -> Browser:
    """A browser that shows a page with two tables."""
    columns = ["name", "value", "number"]
    first = html.table(columns, ROWS, numeric={"value", "number"})
    second = html.table(["name"], [["b"], ["a"]])
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


def test_words_sort_by_alphabet_with_the_numbers_in_them(table: Browser) -> None:
    button = table.driver.find_elements(By.CSS_SELECTOR, "th button")[0]
    button.click()
    assert numbers(table) == [*BY_NAME, 30]
    button.click()
    assert numbers(table) == [*reversed(BY_NAME), 30]


def test_another_column_starts_anew_and_other_tables_stay(table: Browser) -> None:
    buttons = table.driver.find_elements(By.CSS_SELECTOR, "th button")
    buttons[0].click()
    buttons[2].click()
    assert numbers(table) == sorted(int(number) for *_, number in ROWS)
    assert order(table) == [None, None, "ascending", None]
    assert table.driver.find_elements(By.TAG_NAME, "tbody")[1].text.split() == ["b", "a"]


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


SORT_ALL = """
const wrong = [];
for (const button of document.querySelectorAll("th button")) {
  const head = button.closest("th"), body = head.closest("table").tBodies[0];
  const numeric = head.classList.contains("number");
  for (const way of [1, -1]) {
    button.click();
    const cells = [...body.rows].map(row => row.cells[head.cellIndex]);
    const texts = cells.map(cell => cell.dataset.value ?? cell.textContent);
    const filled = texts.filter(text => text !== "");
    const last = texts.slice(filled.length).every(text => text === "");
    const rising = (text, i) => i === 0 || (text - filled[i - 1]) * way >= 0;
    if (!last || numeric && !filled.every(rising)) wrong.push(head.textContent);
  }
}
return wrong;
"""


def test_every_table_of_a_report_sorts_by_every_heading(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert browser.ask("return document.querySelectorAll('th button').length") > 0
    assert browser.ask(SORT_ALL) == []
    assert browser.complaints() == []

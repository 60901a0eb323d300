"""In a browser, hostile texts in a report of any kind do nothing but stand there."""

from pathlib import Path

from hostile_runs import MARKUP, NAME
from page_checks import unreadable_texts

from asvit.report import html
from experiments.browser import PHONE, Browser
from proxies.messages import legible


def test_no_script_runs_and_nothing_is_asked_for(browser: Browser, hostile: Path) -> None:
    browser.open(hostile)
    assert browser.ask("return window.ran ?? 'nothing'") == "nothing"
    assert browser.complaints() == []
    assert browser.requests() == [hostile.resolve().as_uri()]
    assert browser.ask("return document.scripts.length") == 1
    assert browser.ask("return document.querySelectorAll('img, b:not(figcaption b)').length") == 0
    assert browser.ask("return document.title").startswith(legible(NAME))
    assert MARKUP in browser.ask("return document.querySelector('main').textContent")


def test_a_phone_still_shows_it_all(browser: Browser, hostile: Path) -> None:
    browser.open(hostile, width=PHONE)
    assert unreadable_texts(browser) == []


def test_what_is_not_escaped_still_cannot_run_or_ask(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    table = html.table(["name"], [["b"], ["a"]])
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

"""What is wrong with a page as a browser shows it; nothing if all is well.

Each check gives a list of complaints, so that a failure names what is wrong and where.
"""

from pathlib import Path

from tests.asvit.report.browser import Browser

_CHECKS = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def figures_that_do_not_show(browser: Browser) -> list[str]:
    """Figures that are empty or beside the page."""
    return _ask(browser, "figures")


def faults_of_drawing(browser: Browser, least: float = 12.0) -> list[str]:
    """Of the file of a figure: texts cut off, or below ``least`` pixels, and parts it lacks."""
    return _ask(browser, "drawing", least)


def faint_texts(browser: Browser, least: float = 4.5) -> list[str]:
    """Texts with less contrast to what is behind them, as WCAG 2 defines it."""
    return _ask(browser, "contrast", least)


def unreadable_texts(browser: Browser, least: float = 12.0) -> list[str]:
    """Texts smaller than ``least`` pixels, or outside the page and of no scrolling box in it."""
    return _ask(browser, "readable", least)


def _ask(browser: Browser, check: str, *arguments: object) -> list[str]:
    browser.ask("for (const one of document.querySelectorAll('details')) one.open = true;")
    wrong: list[str] = browser.ask(f"{_CHECKS}\nreturn checks.{check}(...arguments);", *arguments)
    return wrong

"""Screenshots of every kind of report, to review changes of their layout.

Run from a checkout: ``python -m tests.asvit.report.screenshot_reports OUT``. It writes a run of
every kind with made-up numbers to ``OUT/runs`` and renders its report in headless Chromium: light,
dark, on a phone, and on paper. See :mod:`tests.asvit.report.browser` for what it needs.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from asvit.runs.run import write_report
from tests.asvit.report.browser import DESKTOP, PHONE, Browser, open_browser
from tests.asvit.report.sample_runs import KINDS, write_sample

# Name -> width in pixels, and whether dark.
VIEWS = {
    "light": (DESKTOP, False),
    "dark": (DESKTOP, True),
    "phone": (PHONE, False),
    "phone-dark": (PHONE, True),
}


def screenshots(browser: Browser, page: Path, stem: Path) -> Iterator[Path]:
    """Write screenshots of ``page`` to files whose names start with ``stem``."""
    for name, (width, dark) in VIEWS.items():
        browser.open(page, width=width, dark=dark)
        yield _written(stem.with_name(f"{stem.name}-{name}.png"), browser.picture())
    browser.open(page, printed=True, dark=True)  # paper is white in the dark theme, too
    yield _written(stem.with_name(f"{stem.name}-paper.pdf"), browser.pdf())


def take(out: Path, kinds: Iterable[str]) -> Iterator[Path]:
    """Make a run of each of ``kinds``, and write screenshots of its report to ``out``."""
    with open_browser() as browser:
        for kind in kinds:
            page = write_report(write_sample(kind, out / "runs" / kind))[-1]
            yield from screenshots(browser, page, out / kind)


def main() -> None:
    """Write the screenshots and print their paths."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the pictures")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=KINDS, help="default: all")
    arguments = parser.parse_args()
    for path in take(arguments.out, arguments.kind):
        print(path)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


if __name__ == "__main__":
    main()

"""A headless Chromium to look at reports with: their layout, their console, what they ask for.

It needs Chromium and its driver, which Debian has as ``chromium`` and ``chromium-driver``, and the
package selenium. The browser resolves no host name.
"""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.command import Command

BROWSERS, DRIVERS = ("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)
PHONE = 390  # CSS pixels across
DESKTOP = 1280

_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def missing() -> str:
    """What is not there that :func:`open_browser` needs; empty if all is."""
    lacking = [names[0] for names in (BROWSERS, DRIVERS) if _found(names) is None]
    return f"no {' and no '.join(lacking)} on the PATH" if lacking else ""


class Browser:
    """A page at a time, as someone with this screen and these wishes sees it.

    Args:
        driver: A browser that keeps the logs ``browser`` and ``performance``.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(
        self,
        page: Path,
        *,
        width: int = DESKTOP,
        height: int = 844,
        dark: bool = False,
        printed: bool = False,
    ) -> None:
        """Show the file ``page``; what was logged before is forgotten.

        Args:
            page: An HTML file.
            width: Of the window, in CSS pixels; up to 480 it is that of a phone.
            height: Of the window, in CSS pixels.
            dark: Whether the reader asks for dark pages.
            printed: Lay it out as for paper.
        """
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width <= 480,
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        media = "print" if printed else "screen"
        self._tell("Emulation.setEmulatedMedia", media=media, features=[theme])
        for log in ("browser", "performance"):
            self._log(log)  # and with it forget
        self.driver.get(page.resolve().as_uri())

    def ask(self, script: str, *arguments: object) -> Any:
        """What the body of a function gives that runs in the page."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Errors and warnings of the page since the last look, exceptions included."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last look, that of the page first."""
        events = (json.loads(entry["message"])["message"] for entry in self._log("performance"))
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def picture(self) -> bytes:
        """The whole page as PNG."""
        size = self._tell("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self._tell("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])

    def pdf(self) -> bytes:
        """The page on A4 paper; it is to be open as ``printed``."""
        made = self._tell("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(made["data"])

    def _log(self, name: str) -> list[dict[str, Any]]:
        """The entries of a log since the last look."""
        told: dict[str, Any] = self.driver.execute(Command.GET_LOG, {"type": name})
        return list(told["value"])

    def _tell(self, command: str, **parameters: object) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser with a profile of its own, gone in the end.

    Raises:
        FileNotFoundError: If there is no Chromium or no driver of it.
    """
    browser, driver = _found(BROWSERS), _found(DRIVERS)
    if browser is None or driver is None:
        raise FileNotFoundError(
            f"{missing()}; Debian has them as the packages chromium and chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # As root, as in many containers, Chromium starts without its sandbox only.
    for flag in (*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()


def _found(names: tuple[str, ...]) -> str | None:
    return next((path for path in map(shutil.which, names) if path), None)

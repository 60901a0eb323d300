"""A headless Chromium to check reports: layout, console messages and requests.

It needs Chromium and its driver (``chromium`` and ``chromium-driver`` in Debian) and the package
selenium. The browser resolves no host name.
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


#: Waits until the page is there and what its script observes was told to it twice.
_SETTLED = """
const done = arguments[0], next = call => requestAnimationFrame(() => setTimeout(call));
const start = () => next(() => next(done));
if (document.readyState === "complete") start(); else addEventListener("load", start);
"""


def missing() -> str:
    """What :func:`open_browser` needs and does not find; empty if nothing is missing."""
    lacking = [names[0] for names in (BROWSERS, DRIVERS) if _found(names) is None]
    return f"no {' and no '.join(lacking)} on the PATH" if lacking else ""


class Browser:
    """Shows one page at a time, with a given window and theme.

    Args:
        driver: A browser that records the logs ``browser`` and ``performance``.
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
        """Open the file ``page`` and clear the logs.

        Args:
            page: An HTML file.
            width: Width of the window, in CSS pixels; up to 480 emulates a phone.
            height: Height of the window, in CSS pixels.
            dark: Whether to prefer the dark theme.
            printed: Whether to use the print layout.
        """
        self._send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width <= 480,
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        media = "print" if printed else "screen"
        self._send("Emulation.setEmulatedMedia", media=media, features=[theme])
        for log in ("browser", "performance"):
            self._log(log)  # reading it clears it
        self.driver.get(page.resolve().as_uri())
        self.driver.execute_async_script(_SETTLED)

    def ask(self, script: str, *arguments: object) -> Any:
        """Run the body of a function in the page and return its value."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Errors, warnings and exceptions of the page since the last call."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """Requested addresses since the last call; the page itself is first."""
        events = (json.loads(entry["message"])["message"] for entry in self._log("performance"))
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def pdf(self) -> bytes:
        """The page as PDF on A4 paper; open it with ``printed`` first."""
        printed = self._send("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(printed["data"])

    def _log(self, name: str) -> list[dict[str, Any]]:
        """The entries of a log since the last call."""
        entries: dict[str, Any] = self.driver.execute(Command.GET_LOG, {"type": name})
        return list(entries["value"])

    def _send(self, command: str, **parameters: object) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a browser with a temporary profile, and quit it after the block.

    Raises:
        FileNotFoundError: If Chromium or its driver is missing.
    """
    browser, driver = _found(BROWSERS), _found(DRIVERS)
    if browser is None or driver is None:
        raise FileNotFoundError(
            f"{missing()}; Debian has them as the packages chromium and chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # Chromium refuses to run as root, as in many containers, with its sandbox.
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

"""One browser for all tests of how reports look, and a report of every kind to look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_runs import NAME, TEXTS, write_hostile

from asvit.runs.reporting import write_report_in as write_report
from tests.asvit.report.browser import Browser, missing, open_browser
from tests.asvit.report.sample_runs import KINDS, write_sample


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    if missing():
        pytest.skip(f"{missing()}: Debian's packages chromium and chromium-driver have them")
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="session", params=KINDS)
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of each kind, with made-up numbers."""
    folder = tmp_path_factory.mktemp("sample") / request.param
    return write_report(write_sample(request.param, folder))[-1]


@pytest.fixture(scope="session", params=["search", "training"])
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of each kind, whose folder has a hostile name and hostile texts in it."""
    folder = tmp_path_factory.mktemp("hostile") / NAME
    return write_report(write_hostile(request.param, folder, "".join(TEXTS)))[-1]

"""What holds for every test."""

import os
import signal
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import hypothesis
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="run the tests of .ci/nightly, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--nightly"):
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_configure(config: pytest.Config) -> None:
    """Set up the process before anything imports torch, for what the tests start as well."""
    # On networks this small threads only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("COLUMNS", None)  # set by some shells and runners; tables in a pipe obey it
    # A busy machine is slow, and no test of ours is about time.
    slow = [hypothesis.HealthCheck.too_slow]
    examples = 200 if config.getoption("--nightly") else 15
    hypothesis.settings.register_profile(
        "ours", deadline=None, suppress_health_check=slow, max_examples=examples
    )
    hypothesis.settings.load_profile("ours")
    # A shell starts its background jobs with Ctrl-C ignored; ours, and theirs, are to be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's image cache."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ASVIT_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run folder that a test does not name is not made in the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def network_calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every try to reach the network, which fails."""
    tries: list[object] = []

    def refuse(*given: object, **_named: object) -> None:
        tries.append(given)
        raise OSError("no network in this test")

    for name in ("socket.connect", "socket.connect_ex", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(f"socket.{name}", refuse)
    return tries


@pytest.fixture(scope="module")
def forked_modules() -> Iterator[list[Any]]:
    """Copies are reloaded, and workers started, in forked processes in all of the file.

    The workers are listed as they start.
    """
    from tests.campaigns import forked

    with forked.modules() as started:
        yield started


@pytest.fixture(scope="module")
def quick_figures() -> Iterator[None]:
    """Figures are drawn but not laid out and written, which is a third of a brief run.

    This is for all of a file. Those of every kind of run are written in tests/asvit/report.
    """
    from asvit.report.pictures import Picture

    def svg(picture: Picture) -> str:
        with picture._styled():
            return "<svg/>"

    quick: Any = cached_property(svg)
    quick.__set_name__(Picture, "svg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Picture, "svg", quick)
        yield


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    import torch

    torch.manual_seed(0)

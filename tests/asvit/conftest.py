"""What tests of several packages share."""

from collections.abc import Iterator

import pytest


@pytest.fixture
def toy_kind() -> Iterator[None]:
    """``asvit toy`` is a kind of run; none has worked yet."""
    from asvit.runs.run import RUNS, register_run
    from tests.asvit.toy_run import ToyRun

    ToyRun.worked.clear()
    register_run(ToyRun)
    yield
    del RUNS["toy"]

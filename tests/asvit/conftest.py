"""What tests of several packages share."""

from collections.abc import Iterator

import pytest


@pytest.fixture
def toy_kind() -> Iterator[None]:
    """``asvit toy`` is a kind of run; none has worked yet."""
    from asvit.core.results import RUNS
    from asvit.runs.run_folder import register_kind
    from tests.asvit.toy_run import TOY, worked

    worked.clear()
    register_kind(TOY)
    yield
    del RUNS["toy"]

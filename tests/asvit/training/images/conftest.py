"""Fewer workers give the same batches, so that tests of batches would not notice their errors."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_worker_is_lost(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Fail where a worker was lost, unless the test is about that, by its name."""
    yield
    messages = [record.getMessage() for record in caplog.get_records("call")]
    lost = [message for message in messages if message.startswith("lost a worker")]
    assert not lost or "lost" in request.node.name, lost

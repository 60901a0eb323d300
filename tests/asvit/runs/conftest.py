"""Runs here write no figures; tests/asvit/report has those of every kind."""

from typing import Any

import pytest

from asvit.runs import measurement_pool
from proxies import Score
from tests.asvit.runs.designing_fakes import fakes, pictures, race
from tests.asvit.runs.fakes import fake_measure

__all__ = ["fakes", "pictures", "race"]  # fixtures


@pytest.fixture(scope="module", autouse=True)
def _quick_figures(quick_figures: None) -> None: ...


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    """Every architecture that is measured, at once, with the measures taken of it."""
    calls: list[tuple[str, tuple[str, ...]]] = []

    def measure(build: Any, names: Any, *, key: str, **rest: Any) -> dict[str, Score]:
        calls.append((key, tuple(names)))
        return fake_measure(build, names, key=key, **rest)

    monkeypatch.setattr(measurement_pool, "measure", measure)
    return calls

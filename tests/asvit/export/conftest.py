"""Trainings here write no figures; tests/asvit/report has those of every kind."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _quick_figures(quick_figures: None) -> None: ...

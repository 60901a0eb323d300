"""``asvit scale`` and its progress, on small settings."""

from pathlib import Path

import pytest

from tests.asvit.cli.commands import SEED, TINY, run
from tests.asvit.runs.fakes import fake_scaling

pytestmark = pytest.mark.usefixtures("quick_figures")


def test_a_growth_that_ends_further_from_its_budget_says_why_and_has_succeeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_scaling(monkeypatch.setattr)
    options = ["--budget", "2M", "--stop-within", "0.0001%", *TINY, "--out", tmp_path]
    result = run("scale", "--arch", SEED, *options)
    assert result.exit_code == 0, result.stderr
    reason = "not as near as asked: no larger model is within 0.0001% of 2M and can be built"
    assert reason in " ".join(result.stdout.split())

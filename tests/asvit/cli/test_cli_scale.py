"""``asvit scale`` and its progress, on small settings."""

from pathlib import Path
from typing import Any

import pytest

from proxies import Score
from tests.asvit.cli.commands import SEED, TINY, run, strict
from tests.asvit.runs.fakes import fake_scaling

pytestmark = pytest.mark.usefixtures("quick_figures")


def test_the_steps_of_a_result(finished: Any) -> None:
    data = strict(finished("scale")[1].stdout)
    assert set(data["steps"][0]) == {
        "step", "kind", "architecture", "depths", "width", "measured_width", "params", "macs",
        "length_distortion", "ntk_condition_number", "rank_sum", "chosen", "reason", "candidates",
    }  # fmt: skip
    assert [near["budget"] for near in data["nearest"]] == ["1.5M", "2M"]
    assert 0.98 * 2e6 <= data["params"] <= 2e6


def test_scale_tells_people_on_stderr(finished: Any) -> None:
    _, result = finished("scale")
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"growing {SEED} (--arch) to 2M: 1 network each, 32 px, device cpu")
    # A line for every twentieth of the way, and on a slow machine one a minute.
    steps = [line.split()[1] for line in lines if line.startswith("step ") and "ETA" in line]
    assert steps[-1] == str(strict(result.stdout)["steps"][-1]["step"])
    assert any(line.startswith("nearest to 1.5M: step ") for line in lines)


SCORES = {
    "length_distortion": Score(0.25, 0.0, (0.25,), "higher"),
    "ntk_condition_number": Score(1.5, 0.0, (1.5,), "lower"),
}


def test_a_growth_that_ends_further_from_its_budget_says_why_and_has_succeeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_scaling(monkeypatch.setattr)
    options = ["--budget", "2M", "--stop-within", "0.0001%", *TINY, "--out", tmp_path]
    result = run("scale", "--arch", SEED, *options)
    assert result.exit_code == 0, result.stderr
    reason = "not as near as asked: no larger model is within 0.0001% of 2M and can be built"
    assert reason in " ".join(result.stdout.split())

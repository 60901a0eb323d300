"""``asvit correlate`` and its progress, on a small table of one's own."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.asvit.cli.commands import SMALL, run, strict


@pytest.fixture
def table(words: Any) -> str:
    """The path of a small table."""
    return str(words("correlate")[2])


def test_what_was_asked_and_what_people_are_told(finished: Any) -> None:
    _, done = finished("correlate")
    data = strict(done.stdout)
    assert set(data["correlations"][0]) == {
        "measure", "target", "better", "trivial", "n", "dropped", "tau", "tau_interval",
        "rival", "difference", "difference_interval", "reason", "within",
    }  # fmt: skip
    asked = [one["measure"] for one in data["correlations"] if not one["trivial"]]
    assert set(asked) == {"length_distortion", "length_distortion+ntk_condition_number"}
    lines = done.stderr.splitlines()
    assert lines[0].startswith("measuring 6 architectures of mine: ")
    assert "1 network each, each at its own size, device cpu, seed 0" in lines[0]
    assert [line.split("  ")[0] for line in lines if line.startswith("row ")] == [
        f"row {place}/6" for place in range(1, 7)
    ]
    assert any(line.startswith("The best count is ") for line in lines)


@pytest.fixture
def known(finished: Any, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished("correlate")[0], tmp_path / "known"))


def again(known: Path, table: str, *more: str) -> Result:
    return run("correlate", "--reference", table, *SMALL, "--out", known, *more)


def test_the_table_of_another_question_from_what_is_known(known: Path, table: str) -> None:
    result = again(known, table, "--proxy", "ntk_condition_number")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "nothing to measure: every score is known; --fresh starts over\n"
    rows = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    at = {name: rows.index(name) for name in ("params", "macs", "ntk_condition_number")}
    assert max(at["params"], at["macs"]) < at["ntk_condition_number"]
    assert "length_distortion" not in rows
    found = strict((known / "result.json").read_text())["correlations"][-1]
    low, high = found["tau_interval"]
    assert f"{found['tau']:.3f} [{low:.2f}, {high:.2f}]" in result.stdout
    assert rows.count("params") == 2  # at the same size, then over the whole table

"""The options of who measures, as the three commands that measure many networks take them."""

from typing import Any

import pytest
from click.testing import CliRunner

from asvit.cli.app import app
from asvit.executors import Workers
from asvit.runs.run import RUNS

_ARCHITECTURE = "4,4,6|2,1,2|2,1,3|2,1,4|16"
COMMANDS = {
    "search": ["search"],
    "scale": ["scale", "--arch", _ARCHITECTURE],
    "correlate": ["correlate", "--reference", "vitbench101-pit"],
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], None),
        (["--jobs", "8"], Workers(jobs=8)),
        (["--ray", "auto", "--jobs", "3"], Workers(jobs=3, ray="auto")),
        (["--timeout", "2.5", "--retries", "0"], Workers(timeout=2.5, retries=0)),
    ],
)
def test_workers_reach_the_run(
    monkeypatch: pytest.MonkeyPatch, name: str, words: list[str], expected: Workers | None
) -> None:
    seen: list[Any] = []

    def stop(run: Any) -> None:
        seen.append(run.workers)
        raise ValueError("enough")

    monkeypatch.setattr(RUNS[name], "run", stop)
    result = CliRunner().invoke(app, [*COMMANDS[name], *words])
    assert seen == [expected]
    assert result.exit_code == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--jobs", "0"], "0 is not in the range x>=1"),
        (["--jobs", "many"], "'many' is not a valid integer range"),
        (["--timeout", "0"], "timeout=0.0; use a number of seconds above 0"),
        (["--timeout", "nan"], "timeout=nan; use a number of seconds above 0"),
        (["--retries", "-1"], "-1 is not in the range x>=0"),
    ],
)
def test_wrong_workers_are_a_usage_error(words: list[str], told: str) -> None:
    for command in COMMANDS.values():
        result = CliRunner().invoke(app, [*command, *words])
        assert result.exit_code == 2
        assert told in result.output

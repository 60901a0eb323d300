"""A correlation that is stopped at any point, any number of times, ends as one that never was."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stoppable_correlate
from stoppable_correlate import ARCHITECTURES, write_table

from experiments import forked
from tests.traps import Stop

KILL, INTERRUPT = signal.SIGKILL, signal.SIGINT

Outcome = tuple[bytes, bytes, dict[str, Any]]
Run = Callable[..., int | None]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Correlates in a process of its own until it ends; gives its exit code."""
    table = write_table(tmp_path_factory.mktemp("table") / "mine.csv")

    def ran(folder: Path, **how: Any) -> int:
        settings = how.pop("settings", {"proxies": ["length_distortion", "snip"]})
        return forked.run(stoppable_correlate.run, folder, table, settings, **how)

    return ran


@pytest.fixture(scope="module")
def whole(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a run leaves that is never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert run(folder) == 0
    return outcome(folder)


def outcome(folder: Path) -> Outcome:
    """All that a run leaves, but for the time it took and the folder's own name."""
    result = json.loads((folder / "result.json").read_text())
    for name in ("wall_seconds", "command"):
        del result[name]
    tables = [(folder / name).read_bytes() for name in ("values.csv", "correlations.csv")]
    return tables[0], tables[1], result


@pytest.mark.parametrize(
    "stop",
    [
        ("fsync", 1, KILL),  # nothing but settings
        ("measure", 1, KILL),
        ("measure", 4, INTERRUPT),
        ("append", 5, KILL),
        ("fsync", 5, KILL),
        ("result", 1, KILL),
        ("table", 1, KILL),
        ("table", 2, INTERRUPT),
    ],
)
def test_a_stopped_run_continues_to_the_same_end(
    run: Run, whole: Outcome, tmp_path: Path, stop: Stop
) -> None:
    code = run(tmp_path / "run", stop=stop)
    assert code == (130 if stop[2] == INTERRUPT else -KILL)
    assert not (tmp_path / "run" / "result.json").exists()
    assert run(tmp_path / "run") == 0
    assert outcome(tmp_path / "run") == whole


def test_a_run_that_is_stopped_again_and_again(run: Run, whole: Outcome, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for _ in range(3):
        assert run(folder, stop=("measure", 3, KILL)) == -KILL  # two rows further each time
    kept = (folder / "scores.jsonl").read_text()
    assert sum(text in kept for text in ARCHITECTURES) == 6
    assert run(folder) == 0
    assert outcome(folder) == whole


def test_a_half_written_record_is_cut_off(run: Run, whole: Outcome, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, stop=("measure", 4, KILL))
    journal = folder / "scores.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert run(folder) == 0
    assert outcome(folder) == whole


def test_a_stopped_extension_leaves_the_earlier_answer(
    run: Run, whole: Outcome, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert run(folder) == 0
    more = {"proxies": ["length_distortion", "snip", "fisher"]}
    assert run(folder, settings=more, stop=("measure", 3, KILL)) == -KILL
    assert outcome(folder) == whole
    assert run(folder) == 0
    assert outcome(folder) == whole
    assert run(folder, settings=more) == 0
    assert len(outcome(folder)[2]["correlations"]) == len(whole[2]["correlations"]) + 1


def test_a_full_disk_loses_nothing(run: Run, whole: Outcome, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(folder, largest_file=2000) == 3
    assert (folder / "scores.jsonl").stat().st_size <= 2000
    assert run(folder) == 0
    assert outcome(folder) == whole

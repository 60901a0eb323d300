"""``asvit report`` on folders of strangers: a page, or one line, never a traceback."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asvit.cli.app import app
from asvit.growth.result import ScaleResult
from asvit.reference.result import CorrelationResult
from asvit.search.result import SearchResult
from asvit.search.rows import write_trials
from asvit.search.supernet_result import EvolutionResult, PathRow, write_paths
from scaling.trajectory import to_csv
from tests.asvit.runs.stored_results import (
    MEASURES,
    RIGHT,
    SEED,
    VALUES,
    Kind,
    content_of,
    step,
    trial,
)
from tests.hostile import FIXED, changed_bytes, changed_json, sealed_result

SOME = settings(FIXED, max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = (SearchResult, ScaleResult, CorrelationResult, EvolutionResult)
each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def files(kind: Kind, folder: Path) -> Path:
    """A run folder of this kind; returns its table."""
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_bytes(sealed_result(content_of(kind)))
    if kind is SearchResult:
        write_trials(folder / "trials.csv", [trial(0), trial(1)], MEASURES)
    elif kind is ScaleResult:
        for name in ("steps.csv", "candidates.csv"):
            (folder / name).write_text(to_csv([step(0), step(1), step(2)]))
    elif kind is CorrelationResult:
        (folder / "scores.jsonl").write_text("")
        (folder / "values.csv").write_text(VALUES.to_csv())
    else:
        (folder / "accuracies.jsonl").write_text("")
        one = PathRow(0, 1, "random", SEED, "bb----|------", 10, 50.0)
        (folder / "trials.csv").write_text(write_paths([one]))
    tables = {ScaleResult: "steps.csv", CorrelationResult: "values.csv"}
    return folder / tables.get(kind, "trials.csv")


def check(folder: Path) -> int:
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code in (0, 3), done.stderr
    if done.exit_code:
        assert done.stderr.count("\n") == 1
    assert all(line.isprintable() for line in done.stderr.split("\n"))
    return done.exit_code


@each
def test_right_ones_have_a_report(kind: Kind, tmp_path: Path) -> None:
    files(kind, tmp_path / "run")
    done = CliRunner().invoke(app, ["--debug", "report", str(tmp_path / "run")])
    assert done.exit_code == 0, done.stderr


@each
@SOME
@given(data=st.data())
def test_any_result(kind: Kind, tmp_path: Path, data: st.DataObject) -> None:
    files(kind, tmp_path / "run")
    changed = data.draw(changed_json(content_of(kind)))
    (tmp_path / "run" / "result.json").write_bytes(sealed_result(changed))
    check(tmp_path / "run")


@each
@SOME
@given(data=st.data())
def test_any_table(kind: Kind, tmp_path: Path, data: st.DataObject) -> None:
    table = files(kind, tmp_path / "run")
    table.write_bytes(data.draw(changed_bytes(table.read_bytes())))
    check(tmp_path / "run")


ODD: tuple[Any, ...] = ([], "x\x1b[2J\n", {"a": []}, None)


@each
@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_odd_settings_and_measures(kind: Kind, odd: Any, tmp_path: Path) -> None:
    files(kind, tmp_path / "run")
    content = dict.fromkeys(content_of(kind), odd)
    kept = {"kind": content_of(kind)["kind"], "schema_version": 1}
    (tmp_path / "run" / "result.json").write_bytes(sealed_result({**content, **kept}))
    check(tmp_path / "run")


def test_all_kinds_with_a_report_are_here() -> None:
    assert set(KINDS) < set(RIGHT)

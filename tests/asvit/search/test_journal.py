"""The journal of a study, killed at any byte, or with anything in it: a study, or one line."""

import functools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asvit.core.settings import check_same_settings
from asvit.report.run import read_run
from asvit.runs.search import SearchRun
from asvit.search.journal import open_journal, read_journal
from asvit.search.settings import SearchSettings
from asvit.search.study import STUDY, find_study
from tests.hostile import FIXED, changed_bytes, changed_json, refused_or

MANY = settings(
    FIXED, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SETTINGS = SearchSettings(steps=2)
IMAGES = {"source": "fractals", "digest": "12" * 32}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def record(path: Path, trials: int = 2) -> bytes:
    """The records that a search writes to ``path``, with a few trials."""
    study = optuna.create_study(
        storage=open_journal(path), study_name=STUDY, directions=["maximize", "minimize"]
    )
    study.set_user_attr("settings", SETTINGS.to_json())
    study.set_user_attr("images", IMAGES)
    study.set_user_attr("device", "cpu")
    for _ in range(trials):
        trial = study.ask()
        trial.suggest_categorical("a", [1, 2])
        trial.set_user_attr("params", 3)
        study.tell(trial, [1.0, 2.0])
    return path.read_bytes()


@functools.cache
def right() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return record(Path(folder) / "study.journal")


def check(folder: Path, data: bytes) -> None:
    path = folder / "study.journal"
    path.write_bytes(data)
    refused_or(lambda: read_journal(path))
    assert path.read_bytes() == data  # looking changes nothing
    storage = refused_or(lambda: open_journal(path))
    if storage is None:
        assert path.read_bytes() == data
        return
    study = refused_or(lambda: find_study(storage, STUDY))
    if study is not None:
        run, kept = SearchRun(settings=SETTINGS, out=folder), study.user_attrs
        stored = refused_or(lambda: run.stored_settings(study))
        refused_or(lambda: check_same_settings(folder, stored, SETTINGS, growing=["steps"]))
        refused_or(lambda: run.check_same(images=(kept.get("images"), IMAGES)))
        refused_or(lambda: run.check_same(device=(kept.get("device"), "cpu")))
        assert all(trial.number >= 0 for trial in study.trials)


def test_a_right_one_is_taken(tmp_path: Path) -> None:
    check(tmp_path, right())
    assert find_study(open_journal(tmp_path / "study.journal"), STUDY) is not None


@MANY
@given(st.data())
def test_any_record(tmp_path: Path, data: st.DataObject) -> None:
    lines = right().splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at] = json.dumps(data.draw(changed_json(json.loads(lines[at])))).encode() + b"\n"
    check(tmp_path, b"".join(lines))


@MANY
@given(st.data())
def test_any_bytes(tmp_path: Path, data: st.DataObject) -> None:
    check(tmp_path, data.draw(changed_bytes(right())))


ODD: tuple[Any, ...] = (None, True, 99, "x\x1b[2J\n", [], [None], {"a": []}, -1, 1e300)


def test_odd_values_in_every_place(tmp_path: Path) -> None:
    lines = right().splitlines(keepends=True)
    for at, line in enumerate(lines):
        record = json.loads(line)
        for name in record:
            for odd in ODD:
                changed = json.dumps({**record, name: odd}).encode() + b"\n"
                check(tmp_path, b"".join([*lines[:at], changed, *lines[at + 1 :]]))


@pytest.mark.parametrize("odd", ODD, ids=ascii)
@pytest.mark.parametrize("name", ["settings", "images", "device"])
def test_odd_things_kept_with_the_study(tmp_path: Path, name: str, odd: Any) -> None:
    lines = right().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if f'"{name}":' in line.decode())
    record = json.loads(lines[at])
    for value in (odd, {"source": odd, "digest": odd}, {**SETTINGS.to_json(), "steps": odd}):
        record["user_attr"] = {name: value}
        lines[at] = json.dumps(record).encode() + b"\n"
        check(tmp_path, b"".join(lines))


@pytest.mark.parametrize(
    "line",
    [
        *(b"[" * 10**5, b'{"op_code":' * 10**4, b'{"op_code": 4}', b'{"op_code": true}'),
        *(b'{"op_code": ' + b"9" * 10**4 + b"}", b'{"op_code": 1e999}', b'{"op_code": -1}'),
    ],
    ids=lambda line: repr(line[:20]),
)
def test_damaged_lines(line: bytes, tmp_path: Path) -> None:
    for data in (line + b"\n", right() + line + b"\n"):
        check(tmp_path, data)


def test_no_report_of_a_damaged_journal_alone(tmp_path: Path) -> None:
    (tmp_path / "study.journal").write_bytes(b"\x1b[2J\n" + right())
    assert refused_or(lambda: read_run(tmp_path)) is None


def finished(path: Path) -> int:
    study = optuna.load_study(study_name=STUDY, storage=open_journal(path))
    return len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))


def test_a_kill_at_any_byte_of_the_last_record_is_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "study.journal"
    content = record(path)
    last = content.rstrip(b"\n").rindex(b"\n") + 1
    for end in range(last, len(content)):
        path.write_bytes(content[:end])
        assert finished(path) == 1
        assert path.read_bytes() == content[:last]
        # The journal goes on as if that record had never been begun.
        study = optuna.load_study(study_name=STUDY, storage=open_journal(path))
        study.tell(1, [3.0, 4.0])
        assert finished(path) == 2
    assert f"unfinished record at the end of {path}" in caplog.text


def test_the_zeros_of_a_power_cut_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    content = record(path)
    path.write_bytes(content + b"\0" * 100)
    assert finished(path) == 2
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "garbage", [b"garbage", b"[1]", b"{}", b'{"op_code": "x"}', b"\xff\xfe", b""]
)
@pytest.mark.parametrize("line", [1, 4])
def test_garbage_is_named_and_nothing_is_changed(
    tmp_path: Path, garbage: bytes, line: int
) -> None:
    path = tmp_path / "study.journal"
    lines = record(path).split(b"\n")
    lines[line - 1] = garbage
    path.write_bytes(b"\n".join(lines) + b'{"op_co')
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=rf"study\.journal, line {line} is not .*--fresh"
    ) as caught:
        open_journal(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["study.journal"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"my diary", "line 1 is not a journal record"),
        (lambda content: content + b'{"op_code": 999, "worker_id": "x"}\n', "is corrupt"),
    ],
)
def test_something_else_is_refused_and_not_cut(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "study.journal"
    damaged = damage(record(path))
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=message):
        open_journal(path)
    assert path.read_bytes() == damaged


def test_a_folder_in_the_journals_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.journal").mkdir()
    with pytest.raises(ValueError, match="is not a file"):
        open_journal(tmp_path / "study.journal")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_the_lock_of_a_killed_process_is_removed(tmp_path: Path, kind: str) -> None:
    path, lock = tmp_path / "study.journal", tmp_path / "study.journal.lock"
    record(path)
    if kind == "file":
        lock.touch()
    else:
        lock.symlink_to(path)
    begun = time.monotonic()
    assert finished(path) == 2
    assert time.monotonic() - begun < 5  # the library would wait for 30 seconds
    assert not os.path.lexists(lock)

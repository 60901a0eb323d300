import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from asvit.search.study import (
    create_study,
    open_journal,
    quiet_optuna,
)


def make_study() -> optuna.Study:
    with quiet_optuna():
        storage = optuna.storages.InMemoryStorage()
        study = create_study(storage, "search", {"x": "lower", "length": "higher"})
    assert [way.name for way in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert study.metric_names == ["x", "length"]
    return study


def record(path: Path, trials: int = 2) -> bytes:
    """Write a study with a few trials to ``path`` and return the journal."""
    study = optuna.create_study(
        storage=open_journal(path), study_name="s", directions=["maximize", "minimize"]
    )
    for _ in range(trials):
        trial = study.ask()
        trial.suggest_categorical("a", [1, 2])
        study.tell(trial, [1.0, 2.0])
    return path.read_bytes()


def finished(path: Path) -> int:
    study = optuna.load_study(study_name="s", storage=open_journal(path))
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
        study = optuna.load_study(study_name="s", storage=open_journal(path))
        study.tell(1, [3.0, 4.0])
        assert finished(path) == 2
    assert f"unfinished record at the end of {path}" in caplog.text


def test_a_damaged_line_is_refused_and_trials_above_it_are_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    lines = record(path, trials=3).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], b"x\n", lines[-1]]))
    with pytest.raises(
        ValueError, match=rf"line {len(lines)} is not .*; restore .*, delete that line"
    ):
        open_journal(path)
    path.write_bytes(b"".join(lines[:-1]))
    assert finished(path) == 2


def test_optunas_tools_read_and_write_it(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    record(path)
    ours = optuna.load_study(study_name="s", storage=open_journal(path))
    for mark in ("a", "b"):  # one that is open notices what is added meanwhile
        ours.set_user_attr("ours", mark)
        storage = JournalStorage(JournalFileBackend(str(path)))
        theirs = optuna.load_study(study_name="s", storage=storage)
        assert theirs.user_attrs["ours"] == mark
        theirs.set_user_attr("theirs", mark)
    ours.set_user_attr("ours", "c")
    assert finished(path) == 2
    assert ours.user_attrs == {"ours": "c", "theirs": "b"}


def test_the_lock_of_a_killed_process_gives_way(tmp_path: Path) -> None:
    path, lock = tmp_path / "study.journal", tmp_path / "study.journal.lock"
    record(path)
    lock.touch()
    begun = time.monotonic()
    study = optuna.load_study(study_name="s", storage=open_journal(path))
    study.set_user_attr("a", 1)
    assert time.monotonic() - begun < 9  # the library would wait for 30 seconds
    assert not lock.exists()


def test_the_lock_of_a_killed_process_does_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    record(path)
    lock = path.with_name("study.journal.lock")
    lock.touch()
    assert finished(path) == 2
    assert not lock.exists()

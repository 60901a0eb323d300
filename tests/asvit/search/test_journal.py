"""The journal of a study, killed at any byte; with anything in it: ``test_fuzz_journals.py``."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from asvit.search.journal import open_journal, read_journal
from tests.hostile import unsummed


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


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


def test_flipped_bits_are_noticed_or_lose_but_the_last_record(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    whole = record(path)
    for place in range(0, 8 * len(whole) - 8, 5):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"study\.journal, line \d+ is not "):
            open_journal(path)
        assert path.read_bytes() == damaged
    path.write_bytes(whole[:-1] + b"\v")
    assert finished(path) == 1


@pytest.mark.parametrize(("order", "number"), [([0, 2], 2), ([1], 1), ([0, 2, 1], 2)])
@pytest.mark.parametrize("opened", [open_journal, read_journal])
def test_a_line_that_is_missing_or_out_of_order_is_named(
    tmp_path: Path, opened: Callable[[Path], object], order: list[int], number: int
) -> None:
    path = tmp_path / "study.journal"
    first, second, third, *rest = record(path).splitlines(keepends=True)
    changed = [(first, second, third)[at] for at in order]
    path.write_bytes(b"".join([*changed, *rest]))
    with pytest.raises(ValueError, match=rf"journal, line {number} is not what was written"):
        opened(path)


def test_optunas_tools_read_and_write_it(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    path.write_bytes(unsummed(record(path)))
    ours = optuna.load_study(study_name="s", storage=open_journal(path))
    for mark in ("a", "b"):  # one that is open notices what is added meanwhile
        ours.set_user_attr("ours", mark)
        storage = JournalStorage(JournalFileBackend(str(path)))
        theirs = optuna.load_study(study_name="s", storage=storage)
        assert theirs.user_attrs["ours"] == mark
        theirs.set_user_attr("theirs", mark)
    ours.set_user_attr("ours", "c")
    assert finished(path) == 2
    read = optuna.load_study(study_name="s", storage=read_journal(path))
    assert read.user_attrs == {"ours": "c", "theirs": "b"}
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines).replace(b'"theirs":"b"', b'"theirs":"x"'))
    with pytest.raises(ValueError, match=rf"line {len(lines)} is not what was written there"):
        open_journal(path)


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

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from asvit.core.results import RUNS
from asvit.core.run_files import RECORDS
from asvit.runs import folder as folders
from asvit.runs.folder import check_folder, claimed, newest_run, remove_files
from asvit.runs.search import SEARCH

SEARCH = SEARCH.files


def make_run(root: Path, name: str, *, age: float, kind: str = "search") -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "result.json").touch()
    (folder / ".kind").write_text(f"{kind}\n")
    os.utime(folder / "result.json", (1e9 - age, 1e9 - age))
    return folder


def test_the_newest_finished_run_of_its_kind(tmp_path: Path) -> None:
    make_run(tmp_path, "old", age=100)
    newest = make_run(tmp_path, "new", age=10)
    make_run(tmp_path, "scaling", age=1, kind="scale")
    (make_run(tmp_path, "unfinished", age=0) / "result.json").unlink()
    (make_run(tmp_path, "mine", age=0) / ".kind").unlink()
    copied = make_run(tmp_path, "a copy without hidden files", age=5)
    (copied / ".kind").unlink()
    (copied / "result.json").write_bytes(json.dumps({"kind": "training"}).encode())
    assert newest_run("search", tmp_path) == newest
    assert newest_run("scale", tmp_path).name == "scaling"
    assert newest_run("training", tmp_path) == copied


@pytest.mark.parametrize("root", ["", "no/such/folder"])
def test_without_a_run_the_message_says_what_to_do(tmp_path: Path, root: str) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no finished search in .*; run asvit search first"
    ):
        newest_run(root=tmp_path / root)


def test_a_claim_is_given_back(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    second = claimed(folder, SEARCH)
    with (
        claimed(folder, SEARCH),
        pytest.raises(ValueError, match="another search is running in"),
        second,
    ):
        pass
    with claimed(folder, SEARCH):
        assert folder.is_dir()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    lock_that_fails(monkeypatch, number)
    told = "cannot be locked .*; give --out another folder, maybe on another file system"
    with pytest.raises(OSError, match=told), claimed(tmp_path, SEARCH):
        pass


def lock_that_fails(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_given: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", fail)


def claim(folder: Path) -> None:
    with claimed(folder, SEARCH):
        pass


def search(folder: Path) -> None:
    RUNS["search"].make(preset="quick", data="gaussian", out=folder).run()


@pytest.mark.parametrize("start", [claim, search])
def test_a_run_that_is_begun_while_the_folder_is_read_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[Path], None]
) -> None:
    kind_in, other = folders.kind_in, claimed(tmp_path, SEARCH)

    def read_then_begun(folder: Path) -> str | None:
        kind = kind_in(folder)
        monkeypatch.setattr(folders, "kind_in", kind_in)
        other.__enter__()
        (tmp_path / RECORDS).write_text("half a line")
        return kind

    monkeypatch.setattr(folders, "kind_in", read_then_begun)
    with pytest.raises(ValueError, match="another search is running in"):
        start(tmp_path)
    other.__exit__(None, None, None)


@pytest.mark.parametrize("content", [b"", b"pruning\n", b"\0\xff" * 10_000, b"\x1b[2Jsearch"])
def test_a_damaged_marker_is_refused_in_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".kind").write_bytes(content)
    for fresh in (False, True):
        with pytest.raises(ValueError, match="holds a run of another kind, '") as refused:
            check_folder(tmp_path, SEARCH, fresh=fresh)
        assert str(refused.value).isprintable()


def test_only_named_files_are_removed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    remove_files(tmp_path, ["a", "missing"])
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("name", ["1.jpg", "cats/1.PNG", "TEST/cats/1.jpe"])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_pictures_is_no_run_folder(tmp_path: Path, name: str, fresh: bool) -> None:
    picture = tmp_path / name
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.touch()
    for kind in RUNS.values():
        with pytest.raises(ValueError, match=r"of pictures, such as .*out another folder"):
            check_folder(tmp_path, kind.files, fresh=fresh)
        with (
            pytest.raises(ValueError, match="a folder of pictures"),
            claimed(tmp_path, kind.files, fresh=fresh),
        ):
            pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [picture]

"""The life of a run of any kind, with a toy: start, stop, continue, extend, refuse."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from asvit.cli.run_command import run_command
from asvit.core.progress import Progress
from asvit.runs.folder import known_files, newest_run
from asvit.runs.reporting import kind_of
from asvit.runs.run_folder import Kind, RunFolder, register_kind
from tests.asvit.runs.fakes import stop_at
from tests.asvit.toy_run import TOY, ToyResult, ToySettings, changed, execute, same, worked

pytestmark = pytest.mark.usefixtures("toy_kind")


def run(out: Path | None, kind: Kind = TOY, **given: Any) -> ToyResult:
    result: ToyResult = kind.make(name="x", out=out, **given).run()
    return result


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_run_leaves_its_result_and_its_report(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert [row.step for row in result.rows] == worked == [0, 1, 2]
    named = {"run.jsonl", "result.json", "report.html"}
    assert set(files(tmp_path)) == {".kind", ".lock", *named}
    assert ToyResult.read(tmp_path / "result.json").to_json() == result.to_json()
    page = (tmp_path / "report.html").read_text()
    assert "asvit toy" in page
    assert "total" in page


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stopped_run_goes_on_where_it_stopped(tmp_path: Path, stop: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", progress=stop_at(stop))
    seen: list[Progress] = []
    result = run(tmp_path / "cut", progress=seen.append)
    assert worked == [0, 1, 2]
    assert [one.resumed for one in seen] == [stop] * (3 - stop)
    assert all(one.seconds > 0 for one in seen)
    assert result.rows == run(tmp_path / "whole").rows


def test_a_larger_number_extends_a_run(tmp_path: Path) -> None:
    run(tmp_path, steps=2)
    old = (tmp_path / "report.html").read_bytes()
    assert len(run(tmp_path, steps=4).rows) == 4
    assert worked == [0, 1, 2, 3]
    assert (tmp_path / "report.html").read_bytes() != old
    with pytest.raises(ValueError, match=r"steps 4 \(now 3\)"):
        run(tmp_path, steps=3)


def test_fresh_starts_over_and_leaves_the_files_of_others(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    assert run(tmp_path, fresh=True, rate=0.25).settings.rate == 0.25
    assert (tmp_path / "notes.txt").read_text() == "mine"
    again = TOY.make(name="x", rate=0.25, out=tmp_path)
    assert [*again.run().rows] == again.records
    assert not again.work_done


@pytest.mark.parametrize("name", ["before", "after"])
def test_a_start_that_fails_leaves_nothing_and_removes_nothing(tmp_path: Path, name: str) -> None:
    def refuse(settings: Any, folder: RunFolder[Any, Any]) -> Any:
        if name == "after":
            folder.begin()
        raise ValueError("no")

    failing = changed(TOY, execute=refuse)
    with pytest.raises(ValueError, match="no"):
        run(tmp_path / "run", failing)
    assert (tmp_path / "run").exists() == (name == "after")
    run(tmp_path / "run")
    before = files(tmp_path / "run")
    if name == "before":
        with pytest.raises(ValueError, match="no"):
            run(tmp_path / "run", failing, fresh=True)
        assert files(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"device": "cuda:1"}, r"with device cpu \(now cuda:1\)"),
        ({"images": {"source": "y", "digest": "cd"}}, "with images noise, digest abab"),
        ({"chip": "b"}, r"with chip a \(now b\)"),
    ],
    ids=["device", "images", "chip"],
)
def test_it_does_not_go_on_with_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: dict[str, Any], told: str
) -> None:
    monkeypatch.setitem(same, "chip", "a")
    run(tmp_path, steps=2)
    before = files(tmp_path)
    monkeypatch.setattr("tests.asvit.toy_run.same", {"chip": "a", **now})
    with pytest.raises(ValueError, match=f"was started {told}"):
        run(tmp_path, steps=3)
    assert files(tmp_path) == before
    run(tmp_path, steps=2)  # a finished one gives its result


def test_a_finished_run_is_not_executed_again(tmp_path: Path) -> None:
    calls = list[int]()

    def counted(settings: Any, folder: RunFolder[Any, Any]) -> Any:
        calls.append(settings.steps)
        return execute(settings, folder)

    for steps in (2, 3, 3):
        run(tmp_path, changed(TOY, execute=counted), steps=steps)
    assert calls == [2, 3]


def test_the_folder_is_named_after_what_has_no_default() -> None:
    result = run(None)
    assert result.folder == Path("runs/toy-x")
    assert newest_run("toy") == result.folder
    with pytest.raises(FileNotFoundError, match="run asvit scale first"):
        newest_run("scale")


def test_the_command_of_a_result_gives_the_same_settings(tmp_path: Path) -> None:
    given = {"rate": 0.25, "pair": "c:d", "proxies": ("params", "macs"), "again": True}
    result = run(tmp_path / "a b", fresh=True, hint="so", **given)
    asvit, toy, *words = shlex.split(result.provenance["command"])
    assert (asvit, toy) == ("asvit", "toy")
    assert "--fresh" not in words
    assert "--hint" not in words
    before = files(tmp_path / "a b")
    done = CliRunner().invoke(run_command(TOY), words)
    assert done.exit_code == 0, done.output
    assert files(tmp_path / "a b") == before  # found finished: the settings are the same


def test_a_run_folder_tells_its_kind(tmp_path: Path) -> None:
    run(tmp_path / "run")
    assert kind_of(tmp_path / "run") is TOY
    assert kind_of(tmp_path) is None
    assert TOY.files in known_files()
    (tmp_path / "run" / "result.json").unlink()
    assert kind_of(tmp_path / "run") is TOY
    with pytest.raises(ValueError, match="'toy' is already registered"):
        register_kind(changed(TOY, settings_type=type("Other", (ToySettings,), {})))

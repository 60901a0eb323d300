"""The command that follows from the fields of a kind of run."""

import json
from pathlib import Path

import pytest

from asvit.core.results import stored_content
from tests.asvit.cli.commands import run

pytestmark = pytest.mark.usefixtures("toy_kind")


def test_a_registered_kind_is_a_command_of_the_program() -> None:
    assert "toy         Add up numbers." in run("--help").stdout
    wrong = run("tooy")
    assert (wrong.exit_code, wrong.stderr.count("\n")) == (2, 1)
    assert "did you mean 'toy'" in wrong.stderr


def test_the_help_follows_from_the_fields() -> None:
    words = " ".join(run("toy", "--help").stdout.split())
    for told in (
        "Usage: asvit toy [OPTIONS] TEXT",
        "Add up numbers. A toy.",
        "--steps N How many numbers. [default: 3; x>=1]",
        "--rate X What each adds. [default: 0.5]",
        "--pair A:B Two texts. [default: a:b]",
        "--limit N Where to end; nowhere unless given. [x>=0]",
        "--proxy TEXT Measures. [default: params]",
        "--hint TEXT A word.",
        "--preset NAME",
        "--out DIRECTORY Run folder. [default: a folder in runs, named after the settings]",
    ):
        assert told in words
    assert "Attributes" not in words


def test_options_reach_the_settings_and_a_preset_gives_way_to_them(tmp_path: Path) -> None:
    words = ["--preset", "few", "--rate", "0.25", "--proxy", "params,macs", "--proxy", "depth"]
    done = run("toy", "x", *words, "--pair", "c:d", "--again", "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    settings = json.loads(done.stdout)["settings"]
    assert settings == {
        "name": "x", "steps": 2, "rate": 0.25, "pair": "c:d", "mode": "plain",
        "proxies": ["params", "macs", "depth"], "limit": None, "again": True,
    }  # fmt: skip


def test_people_are_told_on_stderr_and_data_goes_to_stdout(tmp_path: Path) -> None:
    done = run("toy", "x", "--out", tmp_path)
    assert done.stderr.splitlines()[0] == "adding up x"
    assert done.stderr.splitlines()[1].startswith("step 1/3")
    assert (
        f"total: 1.5\nfinished in 0:00\nfolder: {tmp_path}\nnext:   asvit list data" in done.stdout
    )
    again = run("toy", "x", "--out", tmp_path)
    assert again.stderr == "this toy had finished before; --fresh starts it over\n"
    assert again.stdout == done.stdout
    quiet = run("toy", "x", "--out", tmp_path, "--json", "--quiet")
    assert quiet.stderr == ""
    content = stored_content(tmp_path / "result.json")
    assert json.loads(quiet.stdout) == {"folder": str(tmp_path), **content}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["x", "--steps", "0"], 2, "--steps"),
        (["x", "--rate", "2"], 2, "rate must be a number above 0 and at most 1, got 2.0"),
        (["x", "--pair", "ab"], 2, "'ab' has no colon"),
        (["x", "--mode", "cubed"], 2, "mode must be plain or squared"),
        (["x", "--proxy", "parumz"], 2, "did you mean 'params'"),
        (["x", "--preset", "mny"], 2, "'mny'"),
        (["x", "--limit", "9"], 2, "limit 9 is above 3 steps"),
        ([], 2, "Missing argument"),
        (["x", "--step", "1"], 2, "--step"),
    ],
)
def test_bad_values_are_one_line_and_leave_nothing(
    tmp_path: Path, words: list[str], code: int, told: str
) -> None:
    done = run("toy", *words, "--out", tmp_path / "run")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert told in done.stderr
    assert not (tmp_path / "run").exists()


def test_report_finds_the_kind_of_a_folder(tmp_path: Path) -> None:
    run("toy", "x", "--out", tmp_path, "--quiet")
    before = (tmp_path / "report.html").read_bytes()
    (tmp_path / "report.html").unlink()
    done = run("report", tmp_path, "--json")
    assert json.loads(done.stdout) == {"folder": str(tmp_path), "files": ["report.html"]}
    assert (tmp_path / "report.html").read_bytes() == before
    (tmp_path / "result.json").unlink()
    unfinished = run("report", tmp_path)
    assert unfinished.exit_code == 3
    assert "has no finished" in unfinished.stderr

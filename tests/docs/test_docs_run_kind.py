"""The kind of run of docs/extending.md: killed in the middle, it goes on to the same result."""

import os
import site
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from doc_examples import read

from asvit.core.results import stored_content
from tests.campaigns import forked

ARCHITECTURE = "4,8,2|2,4,2|2,2,2|2,1,2|16"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the module of the page."""
    code = [one.text for one in read("docs/extending.md") if "register_kind(" in one.text]
    assert len(code) == 1
    assert len([line for line in code[0].splitlines() if line.strip()]) < 70
    (tmp_path / "mine.py").write_text(code[0])
    return tmp_path


def asvit(folder: Path, *words: str, kill_at: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; killed at a line of progress if asked to."""
    for name in (forked.STDOUT, forked.STDERR):
        (folder / name).unlink(missing_ok=True)
    environment = {"ASVIT_EXTENSIONS": "mine"}
    prepare = partial(site.addsitedir, str(folder))
    process = forked.start(forked.command, words, folder, environment=environment, prepare=prepare)
    while kill_at and process.is_alive():
        if f"\n{kill_at}" in forked.printed(folder):
            process.kill()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, forked.printed(folder, forked.STDOUT), forked.printed(folder)


def result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = stored_content(folder / "result.json")
    for name in ("wall_seconds", "command"):
        del content[name]
    return content


def test_it_goes_on_after_a_kill_to_the_identical_result(folder: Path) -> None:
    run = ("seeds", ARCHITECTURE, "--seeds", "4")
    assert asvit(folder, *run, "--out", "cut", kill_at="seed 2/4")[0] == -9
    assert not (folder / "cut" / "result.json").exists()
    code, out, err = asvit(folder, *run, "--out", "cut")
    assert code == 0, err
    assert "seed study in cut; resuming after seed 2" in err
    assert "mean: " in out
    assert asvit(folder, *run, "--out", "whole", "--quiet")[0] == 0
    assert result(folder / "cut") == result(folder / "whole")
    assert len(result(folder / "cut")["rows"]) == 4

    (folder / "cut" / "report.html").unlink()
    assert asvit(folder, "report", "cut")[1] == "cut/report.html\n"
    page = (folder / "cut" / "report.html").read_text()
    assert "asvit seeds" in page
    assert page.count("data:image/svg+xml") == 1

    other = asvit(folder, *run, "--out", "cut", "--proxy", "zico")
    assert (other[0], other[2].count("\n")) == (3, 1)
    assert "proxy length_distortion (now zico)" in other[2]
    scaling = asvit(folder, "scale", "--arch", ARCHITECTURE, "--out", "cut", "--fresh")
    assert scaling[0] == 3
    assert "cut holds a seed study; give --out another folder for the scaling" in scaling[2]


def test_its_help_and_options_follow_from_its_fields(folder: Path) -> None:
    assert "seeds       Tell how much a measure depends" in asvit(folder, "--help")[1]
    text = " ".join(asvit(folder, "seeds", "--help")[1].split())
    assert "--seeds N Seeds to take it with, each a new network. [default: 10; x>=2]" in text
    wrong = asvit(folder, "seeds", ARCHITECTURE, "--proxy", "lenght_distortion")
    assert wrong[0] == 2
    assert "did you mean 'length_distortion'" in wrong[2]


def test_a_package_that_names_it_as_an_entry_point_installs_it(folder: Path) -> None:
    about = folder / "mine-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    kinds = "seeds = mine:SEEDS\nlost = nowhere:LostRun\nended = ending:EndedRun\n"
    (folder / "ending.py").write_text("raise SystemExit(5)")
    (about / "entry_points.txt").write_text(f"[asvit.runs]\n{kinds}")

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "asvit", *words]
        path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
        return subprocess.run(call, cwd=folder, env=path, capture_output=True, text=True)

    assert "seeds       Installed by mine." in command("--help").stdout
    assert "--seeds N" in command("seeds", "--help").stdout
    # Those that cannot be imported are left out with a line, and stop nothing else.
    done = command("report", ".")
    assert done.returncode == 3
    *told, failed = done.stderr.splitlines()
    assert sorted(told) == [
        "asvit: asvit ended cannot be loaded from ending: SystemExit: 5 (ending.py:1)",
        "asvit: asvit lost cannot be loaded from nowhere: No module named 'nowhere'",
    ]
    assert failed.startswith("asvit: ")
    lost = command("lost", "x")
    assert lost.returncode == 3
    assert lost.stderr.endswith("\nasvit: asvit lost is not available, for the reason above\n")

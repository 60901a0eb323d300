"""The progress of a run: lines in a pipe, a bar on a terminal, nothing when quiet."""

import io
import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import asvit
from asvit.cli.display import progress_display
from asvit.core.console import clock
from asvit.core.progress import Progress, images_told

STATE = "entropy 15.30  best 8,2,3|4,1,2|4,1,4|4,1,6|32 (L^E 12.35, kappa 678.9)  failed 3"


def event(step: int, steps: int = 200, **changes: object) -> Progress:
    return replace(Progress("step", step, steps, seconds=2.0 * step, state=STATE), **changes)


def test_lines_come_every_five_percent(capsys) -> None:
    with progress_display("searching") as tell:
        for step in range(1, 201):
            tell(event(step))
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "searching"
    assert [int(re.match(r"step (\d+)/200", line)[1]) for line in lines] == [
        1,
        *range(10, 201, 10),
    ]
    assert "ETA 6:38" in lines[0]
    assert "ETA 0:00" in lines[-1]


def test_few_steps_have_a_line_each(capsys) -> None:
    with progress_display("searching") as tell:
        for step in range(1, 4):
            tell(event(step, 3))
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_a_resumed_search_says_where_it_goes_on(capsys) -> None:
    with progress_display("searching") as tell:
        tell(event(101, resumed=100, seconds=3.0))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "searching; resuming after step 100"
    assert "ETA 4:57" in lines[1]


def test_quiet_and_unstarted_searches_write_nothing(capsys) -> None:
    with progress_display("searching", quiet=True) as tell:
        images_told(tell)(1, 16)
        tell(event(1))
    with progress_display("searching") as tell:
        images_told(tell)(16, 16)  # kept ones, read at once
    with progress_display("searching"):
        pass
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_images_that_must_be_made_are_one_line_in_a_pipe(capsys) -> None:
    with progress_display("searching") as tell:
        for done in range(1, 17):
            images_told(tell)(done, 16)
    assert capsys.readouterr().err == "preparing 16 images\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def put_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal in the place of stderr."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def shown(screen: Terminal) -> str:
    assert screen.getvalue().endswith("\x1b[2K")  # the last line is wiped
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def test_the_bar_shows_everything_and_goes_when_done(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = put_terminal(monkeypatch)
    with progress_display("searching asvit") as tell:
        tell(event(50))
    text = shown(screen)
    for words in ("searching asvit", "50/200", "2 s each", "ETA 5:00", STATE):
        assert words in text


def test_images_have_a_bar_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = put_terminal(monkeypatch)
    with progress_display("searching asvit") as tell:
        images_told(tell)(12, 16)
    text = shown(screen)
    assert re.search(r"image .* 12/16 ", text)
    assert "searching asvit" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (3599.6, "1:00:00"), (4000, "1:06:40"), (math.nan, "–")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_no_pace_before_the_first_step_of_a_session() -> None:
    assert math.isnan(event(10, resumed=10).remaining)


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(tmp_path) -> None:
    words = ["search", "--space", "asvit-tiny", "--image-size", "32", "--repeats", "1"]
    words += ["--images", "2", "--points", "3", "--data", "gaussian", "--out", "run"]
    command = [sys.executable, "-m", "asvit", *words, "--steps", "60"]
    root = str(Path(asvit.__file__).parents[1])  # a checkout need not be installed
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr:
            if line.startswith("step 9"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "of 60; to go on: asvit search --space asvit-tiny" in rest
    assert "Traceback" not in rest
    again = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert re.search(r"resuming after step \d+", again.stderr)
    assert "60 architectures in" in again.stdout

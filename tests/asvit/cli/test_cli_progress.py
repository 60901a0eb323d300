"""Progress of a search: lines in a pipe, a bar on a terminal, nothing when quiet."""

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
from asvit.cli.progress import images_progress, remaining, search_progress, state
from asvit.console import clock
from asvit.search.loop import StepEvent
from asvit.search.rows import TrialRow

VALUES = {"length_distortion": 12.3456, "ntk_condition_number": 678.9, "my_measure": 1.0}
ROW = TrialRow(0, "8,2,3|4,1,2|4,1,4|4,1,6|32", 1, 2, VALUES, 0.0, 15.3, "complete", "")


def event(step: int, steps: int = 200, **changes: object) -> StepEvent:
    made = StepEvent(
        step=step,
        steps=steps,
        row=ROW,
        entropy=15.3,
        best=ROW,
        failures=0,
        seconds=2.0 * step,
        resumed=0,
    )
    return replace(made, **changes)


def test_lines_come_every_five_percent(capsys) -> None:
    with search_progress("searching") as watch:
        for step in range(1, 201):
            watch.step(event(step))
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "searching"
    assert [int(re.match(r"step (\d+)/200", line)[1]) for line in lines] == [
        1,
        *range(10, 201, 10),
    ]
    assert "ETA 6:38" in lines[0]
    assert "ETA 0:00" in lines[-1]


def test_few_steps_have_a_line_each(capsys) -> None:
    with search_progress("searching") as watch:
        for step in range(1, 4):
            watch.step(event(step, 3))
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_a_resumed_search_says_where_it_goes_on(capsys) -> None:
    with search_progress("searching") as watch:
        watch.step(event(101, resumed=100, seconds=3.0))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "searching; going on after step 100"
    assert "ETA 4:57" in lines[1]


def test_quiet_and_unstarted_searches_write_nothing(capsys) -> None:
    with search_progress("searching", quiet=True) as watch:
        watch.images(1, 16)
        watch.step(event(1))
    with images_progress(quiet=True) as count:
        count(1, 16)
    with search_progress("searching") as watch:
        watch.images(16, 16)  # kept ones, read at once
    with images_progress():
        pass
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("progress", [images_progress, lambda: search_progress("searching")])
def test_images_that_must_be_made_are_one_line_in_a_pipe(progress, capsys) -> None:
    with progress() as watch:
        count = getattr(watch, "images", watch)
        for done in range(1, 17):
            count(done, 16)
    assert capsys.readouterr().err == "preparing 16 images\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_everything_and_goes_when_done(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with search_progress("searching asvit") as watch:
        watch.step(event(50, failures=3))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "searching asvit" in shown
    assert "50/200" in shown
    assert "ETA 5:00" in shown
    assert "entropy 15.30" in shown
    assert f"best {ROW.architecture} (L^E 12.35, kappa 678.9, my measure 1)" in shown
    assert "failed 3" in shown
    assert screen.getvalue().endswith("\x1b[2K")  # the last line is wiped


@pytest.mark.parametrize("progress", [images_progress, lambda: search_progress("searching")])
def test_images_have_a_bar_of_their_own(progress, monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress() as watch:
        getattr(watch, "images", watch)(12, 16)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"images .* 12/16 +ETA 0:0\d", shown)
    assert screen.getvalue().endswith("\x1b[2K")


def test_what_is_not_there_is_left_out() -> None:
    assert state(event(1, entropy=math.nan, best=None)) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (3599.6, "1:00:00"), (4000, "1:06:40"), (math.nan, "–")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_no_pace_before_the_first_step_of_a_session() -> None:
    assert math.isnan(remaining(event(10, resumed=10)))


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
    assert re.search(r"going on after step \d+", again.stderr)
    assert "60 architectures in" in again.stdout

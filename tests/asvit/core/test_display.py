"""The progress of any run: a bar on a terminal, lines in a pipe, nothing when quiet."""

import io
import math
import re
import sys
import time

import pytest

from asvit.core.console import clock
from asvit.core.display import progress_display
from asvit.core.progress import Progress, StageUnderWay


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        """What it shows, without what it obeys."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


def shown(monkeypatch: pytest.MonkeyPatch, *every: Progress) -> Terminal:
    """A terminal on which a bar has shown these."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_display("growing it") as tell:
        for progress in every:
            tell(progress)
            time.sleep(0.6)  # it is drawn four times a second
    return terminal


def told(capsys: pytest.CaptureFixture[str], *every: Progress, quiet: bool = False) -> list[str]:
    with progress_display("growing it", quiet=quiet) as tell:
        for progress in every:
            tell(progress)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def steps(count: int, unit: str = "step") -> list[Progress]:
    return [Progress(unit, done, count, seconds=2.0 * done) for done in range(1, count + 1)]


def test_there_is_a_line_every_five_percent(capsys: pytest.CaptureFixture[str]) -> None:
    first, *lines = told(capsys, *steps(200))
    assert first == "growing it"
    numbers = [int(re.match(r"step (\d+)/200 ", line)[1]) for line in lines]
    assert numbers == [1, *range(10, 201, 10)]
    assert lines[0].startswith("step 1/200  2 s each  ETA 6:38")
    assert "ETA 0:00" in lines[-1]


def stages() -> list[Progress]:
    trained = StageUnderWay("training", 6, 10, 580.0, planned=1080.0, left=1500.0)
    by_hand = StageUnderWay("hand-made", 7, 10, 9.0)
    return [
        Progress("stage", place, 10, resumed=2, stage=stage) if epochs is None
        else Progress("epoch", epochs, 40, seconds=10.0 * epochs, stage=stage)
        for place, stage in ((5, trained), (6, by_hand)) for epochs in (None, 39, 40)
    ]  # fmt: skip


def test_each_stage_has_its_name_its_time_and_lines_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = told(capsys, *stages())
    first = "training (6 of 10), 9:40 of 18:00; 25:00 left for all"
    assert lines == [
        "growing it; resuming after stage 2",
        f"{first}  ",
        f"{first}  epoch 39/40  10 s each  ",  # what is left for all tells, not what the part has
        f"{first}  epoch 40/40  10 s each  ",
        "hand-made (7 of 10), 0:09  ",
        "hand-made (7 of 10), 0:09  epoch 39/40  10 s each  ETA 0:10  ",
        "hand-made (7 of 10), 0:09  epoch 40/40  10 s each  ETA 0:00  ",
    ]


def test_a_resumed_run_says_where_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, Progress("step", 101, 200, resumed=100, seconds=3.0, state="kappa 2"))
    assert lines[0] == "growing it; resuming after step 100"
    assert lines[1] == "step 101/200  3 s each  ETA 4:57  kappa 2"


@pytest.mark.parametrize("kind", ["dumb", "Unknown"])
def test_a_terminal_without_a_cursor_has_lines(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_display("growing it") as tell:
        tell(Progress("step", 3, 4, seconds=3.0, state="width 35"))
    assert terminal.getvalue().splitlines() == [
        "growing it", "step 3/4  1 s each  ETA 0:01  width 35",
    ]  # fmt: skip


def test_quiet_runs_and_those_that_never_start_show_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told(capsys, *steps(3, "image"), *steps(3), quiet=True) == []
    assert told(capsys) == []


def test_the_bar_shows_everything_and_goes_when_done(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Progress("step", 50, 200, resumed=10, seconds=80.0, state="width 35")
    terminal = shown(monkeypatch, Progress("image", 12, 16), step)
    images, _, steps_shown = terminal.shown.partition("growing it; resuming after step 10")
    assert re.search(r"image .* 12/16", images)
    assert re.search(r"step .* 50/200  2 s each  ETA 5:00", steps_shown)
    assert "width 35" in steps_shown
    assert terminal.getvalue().endswith("\x1b[2K")  # the last line is wiped


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (3599.6, "1:00:00"), (4000, "1:06:40"), (math.nan, "–")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_no_pace_before_the_first_step_of_a_session() -> None:
    assert math.isnan(Progress("step", 10, 200, 10, seconds=20.0).remaining)

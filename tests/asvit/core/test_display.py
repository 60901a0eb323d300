"""The progress of any run: a bar on a terminal, lines in a pipe, nothing when quiet."""

import errno
import fcntl
import io
import math
import os
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import asvit
from asvit.core.console import clock, console, quantity
from asvit.core.display import progress_display, say
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
        f"{first}  epoch 39/40  10 s each  ETA 0:10  ",
        f"{first}  epoch 40/40  10 s each  ETA 0:00  ",
        "hand-made (7 of 10), 0:09  ",
        "hand-made (7 of 10), 0:09  epoch 39/40  10 s each  ETA 0:10  ",
        "hand-made (7 of 10), 0:09  epoch 40/40  10 s each  ETA 0:00  ",
    ]


def test_a_bar_shows_the_stage_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, *stages()[:2]).shown
    assert "training (6 of 10), 9:40 of 18:00; 25:00 left for all" in text
    assert "39/40" in text


def test_few_steps_and_an_unknown_end_have_a_line_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(told(capsys, *steps(3))) == 4
    clock = iter(range(0, 3000, 70))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    endless = [Progress("step", done, None, seconds=9.0) for done in range(1, 4)]
    assert len(told(capsys, *endless)) == 4  # at least one a minute


def test_a_slow_run_has_a_line_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 30_000, 25))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    lines = told(capsys, *steps(1000)[:10])[1:]
    assert [line.split()[1] for line in lines] == ["1/1,000", "4/1,000", "7/1,000", "10/1,000"]


def test_a_resumed_run_says_where_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, Progress("step", 101, 200, resumed=100, seconds=3.0, state="kappa 2"))
    assert lines[0] == "growing it; resuming after step 100"
    assert lines[1] == "step 101/200  3 s each  ETA 4:57  kappa 2"


def test_images_that_must_be_made_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, *steps(16, "image")) == ["preparing 16 images"]
    assert told(capsys, *steps(2_000, "image")) == ["preparing 2,000 images"]
    assert told(capsys, Progress("image", 16, 16)) == []  # kept ones, read at once


@pytest.mark.parametrize("kind", ["dumb", "Unknown"])
def test_a_terminal_without_a_cursor_has_lines(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_display("growing it") as tell:
        tell(Progress("step", 3, 4, seconds=3.0, state="width 35"))
    assert terminal.getvalue().splitlines() == [
        "growing it", "step 3/4  1 s each  ETA 0:01  width 35",
    ]  # fmt: skip


def test_work_goes_on_when_the_reader_of_its_lines_has_left() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    code = "from asvit.core.display import say; say('one'); say('two'); print('done')"
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=writes, check=False)
    os.close(writes)
    assert (ended.returncode, ended.stdout) == (0, b"done\n")


class FullDisk(io.StringIO):
    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_work_goes_on_while_the_disk_of_its_lines_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", log := FullDisk())
    say("one")
    console(err=True).print("two")
    log.full = False
    say("three")
    assert log.getvalue() == "three\n"


def test_work_goes_on_when_the_terminal_of_its_bar_is_closed() -> None:
    process, terminal = in_a_terminal(80)
    assert os.read(terminal, 1)
    os.close(terminal)
    assert process.wait() == 0


def test_another_unit_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, *steps(2), *steps(2, "row"))
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "step 1/2", "step 2/2", "row 1/2", "row 2/2",
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


def test_a_bar_without_an_end_has_count_and_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = shown(monkeypatch, Progress("step", 3, None, seconds=0.75, state="on"))
    assert re.search(r"step .* 3  4 a second  ETA –", terminal.shown)


def test_the_bar_shows_what_coarser_tokens_leave_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = {"seconds": 30.0, "state": "step 5/10 of epoch 2  loss 1.500"}
    epoch = Progress("epoch", 1, 4, 1, share=0.5, share_resumed=0.25, **done)
    terminal = shown(monkeypatch, Progress("image", 3, 10), epoch)
    assert "growing it; resuming after epoch 1" in terminal.shown
    assert "1/4  ETA 1:00" in terminal.shown
    assert "step 5/10 of epoch 2  loss 1.500" in terminal.shown


WARNING = f"{'/a/long/folder' * 9}/checkpoint.safetensors was damaged; the one before it is used"
SAID = f"measuring {'8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180 ' * 3}"
TALKING = f"""
import logging, time
from asvit.cli.app import _logging_on_stderr
from asvit.core.display import progress_display, say
from asvit.cli.options import Session
from asvit.core.progress import Progress

with _logging_on_stderr(Session()), progress_display("growing it") as tell:
    for done in range(3):
        tell(Progress("step", done, 3, seconds=9.0, state="a long state of the run " * 9))
        time.sleep(0.3)  # it is drawn four times a second
        if done == 1:
            logging.getLogger("asvit").warning({WARNING!r})
            say({SAID!r})
            time.sleep(0.3)
say("done")
"""


def in_a_terminal(columns: int) -> tuple[subprocess.Popen[bytes], int]:
    """A process that shows a bar in a pseudo-terminal, and the other end of that."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {
        **os.environ,
        "TERM": "xterm",
        "PYTHONPATH": str(Path(asvit.__file__).parents[1]),
    }
    environment.pop("COLUMNS", None)
    command = [sys.executable, "-c", TALKING]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    return process, ours


def written(terminal: int) -> str:
    """All that a terminal was sent."""
    sent = b""
    while True:
        try:
            sent += os.read(terminal, 65536)
        except OSError:  # the other end is closed
            return sent.decode()


def on_screen(sent: str, columns: int) -> list[str]:
    """The lines that a terminal shows after this; one too long goes on in the next."""
    rows, row, column = [" " * columns], 0, 0
    for control, plain in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z]|[\r\n])|([^\x1b\r\n])", sent):
        if plain:
            if column == columns:
                row, column = row + 1, 0
            rows += [" " * columns] * (row + 1 - len(rows))
            rows[row] = rows[row][:column] + plain + rows[row][column + 1 :]
            column += 1
        elif control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            rows += [" " * columns] * (row + 1 - len(rows))
        elif control.endswith("A"):
            row -= int(control[2:-1])
        elif control.endswith("2K"):
            rows[row] = " " * columns
        else:
            assert control[-1] in "mhl", control
    return rows


def test_what_is_said_during_a_bar_stays_on_the_screen() -> None:
    widths = (60, 80, 160)
    started = [(columns, *in_a_terminal(columns)) for columns in widths]
    for columns, process, terminal in started:
        sent = written(terminal)
        os.close(terminal)
        assert process.wait() == 0, sent
        assert "getting ready" in sent
        assert "2/3" in sent
        rows = on_screen(sent, columns)
        whole = "".join(rows)
        for line in ("growing it", f"asvit: {WARNING}", SAID.rstrip(), "done"):
            assert whole.count(line) == 1, (columns, rows)
        left = [row for row in rows if row.strip()]
        lines = 2 + math.ceil(len(f"asvit: {WARNING}") / columns) + math.ceil(len(SAID) / columns)
        assert len(left) == lines, (columns, rows)  # nothing of the bar


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (3599.6, "1:00:00"), (4000, "1:06:40"), (math.nan, "–")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 epochs"), (1, "1 epoch"), (2, "2 epochs"), (2000, "2,000 epochs")]
)
def test_quantities(count: int, text: str) -> None:
    assert quantity(count, "epoch") == text


def test_no_pace_before_the_first_step_of_a_session() -> None:
    assert math.isnan(Progress("step", 10, 200, 10, seconds=20.0).remaining)

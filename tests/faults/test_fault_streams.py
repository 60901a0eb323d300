"""Output that nobody reads, that does not fit, and terminals that know little."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tiny_runs import goes_on

from experiments import forked
from experiments.kill_runs import Campaign, words


def to_nobody(descriptor: int) -> None:
    """Let a stream end in a pipe whose reader has left, as that of ``head`` has."""
    reader, writer = os.pipe()
    os.close(reader)
    _redirect(descriptor, writer)


def to_full_disk(descriptor: int) -> None:
    """Let a stream go to a disk without space."""
    _redirect(descriptor, os.open("/dev/full", os.O_WRONLY))


def _redirect(descriptor: int, target: int) -> None:
    os.dup2(target, descriptor)
    # A stream that was made for a file takes a pipe for one, too. This one has no buffer that the
    # end of the process would try to write again.
    raw = io.FileIO(descriptor, "w", closefd=False)
    setattr(sys, {1: "stdout", 2: "stderr"}[descriptor], io.TextIOWrapper(raw, write_through=True))


@pytest.mark.parametrize(
    ("trap", "code"), [(to_nobody, 0), (to_full_disk, 3)], ids=["nobody", "full"]
)
def test_a_run_whose_output_goes_nowhere_is_whole(
    campaign: Campaign, trap: Callable[[int], None], code: int
) -> None:
    folder = campaign.new("train", trap.__name__)
    command = [*words("train"), "--json"]
    assert forked.run(forked.command, command, folder, prepare=partial(trap, 1)) == code
    assert "Traceback" not in forked.printed(folder)
    campaign.check_same("train", folder)


@pytest.mark.parametrize("trap", [to_nobody, to_full_disk])
def test_a_run_whose_progress_goes_nowhere_can_go_on(
    campaign: Campaign, trap: Callable[[int], None]
) -> None:
    folder = campaign.new("train", f"unwatched-{trap.__name__}")
    forked.run(forked.command, words("train"), folder, prepare=partial(trap, 2))
    goes_on(campaign, "train", folder, "after its progress could not be shown")


@pytest.mark.slow
def test_a_terminal_that_knows_ascii_alone(campaign: Campaign) -> None:
    folder = campaign.new("train", "ascii")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "asvit", *words("train")[:-1], "größe"],
        cwd=folder,
        env={**os.environ, **plain, "ASVIT_CACHE": str(folder / forked.CACHE)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii")
    assert done.stderr.decode("ascii")
    assert (folder / "größe" / "result.json").exists()


@pytest.mark.slow
def test_the_reader_of_a_list_may_leave(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m asvit list presets | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is full")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("list presets >&-", 0),
        ("list nothing >&-", 2),
        ("list nothing 2>&-", 2),
        ("list nothing 2>/dev/full", 2),
    ],
)
def test_the_code_tells_where_nothing_else_can(line: str, code: int) -> None:
    ended = subprocess.run(["sh", "-c", f'"{sys.executable}" -m asvit {line}'], check=False)
    assert ended.returncode == code

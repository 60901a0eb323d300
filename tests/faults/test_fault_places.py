"""Disks that are full, folders that are elsewhere or locked, and output that nobody reads."""

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from tiny_runs import ALONE, QUICK, fails, marked

from tests.campaigns import forked
from tests.campaigns.kill_runs import RUN, Campaign, words
from tests.traps import drop_privileges, small_disk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' system calls")

NOT_ALLOWED = 77
PAGE = 4096
LOCKED = "asvit: run may not be written to; give --out a folder that may be"


def fill_and_free(arguments: Sequence[str], folder: Path, kibibytes: int) -> None:
    """Run a command on a disk that is too small, then on a larger one; exit as the first did."""
    run = folder / RUN
    try:
        small_disk(run, kibibytes)
    except PermissionError:
        sys.exit(NOT_ALLOWED)
    first = _code_of(arguments, folder)
    small_disk(run, 100 * 1024)
    if _code_of(arguments, folder) != 0:
        sys.exit(1)
    kept = folder / "kept"
    kept.mkdir()
    for path in run.iterdir():  # the disk ends with this process
        (kept / path.name).write_bytes(path.read_bytes())
    sys.exit(first)


def _code_of(arguments: Sequence[str], folder: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            forked.command(arguments, folder)
        except SystemExit as ended:
            os._exit(ended.code if isinstance(ended.code, int) else 1)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("name", marked(ALONE))
def test_a_full_disk_ends_a_run_that_goes_on_when_there_is_space(
    campaign: Campaign, name: str
) -> None:
    whole, folder = campaign.reference_folder(name), campaign.new(name, "filled")
    pages = sum(-(-path.stat().st_size // PAGE) for path in (whole / RUN).iterdir())
    code = forked.run(fill_and_free, words(name), folder, pages * PAGE // 1024 // 2)
    if code == NOT_ALLOWED:
        pytest.skip("no disk may be mounted here")
    assert code == 3
    lines = [line for line in forked.printed(folder).splitlines() if line.startswith("asvit: ")]
    assert "No space left on device" in lines[0]
    assert "Traceback" not in forked.printed(folder)
    (folder / RUN).rmdir()
    (folder / "kept").rename(folder / RUN)
    campaign.check_same(name, folder, what="after a full disk")


def lock_up(run: Path) -> None:
    """Take the right to write to a run away, once it is known who runs."""
    drop_privileges()
    run.chmod(0o500)


LOCKED_UP = [*((name, False) for name in QUICK), ("train", True)]


@pytest.mark.parametrize(("name", "finished"), LOCKED_UP)
def test_a_folder_that_may_only_be_read(campaign: Campaign, name: str, finished: bool) -> None:
    folder = campaign.new(name, f"locked-{finished}")
    if finished:
        campaign.finish(name, folder)
    (folder / RUN).mkdir(exist_ok=True)
    before = sorted((folder / RUN).iterdir())
    fails(words(name), folder, LOCKED, prepare=partial(lock_up, folder / RUN))
    assert finished or forked.printed(folder).splitlines() == [LOCKED]
    assert sorted((folder / RUN).iterdir()) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is full")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("list presets >&-", 0),
        ("list nothing >&-", 2),
        ("list nothing 2>&-", 2),
        ("list nothing 2>/dev/full", 2),
        ("list presets >/dev/full", 3),
    ],
)
def test_the_code_tells_where_nothing_else_can(line: str, code: int) -> None:
    # Python flushes at exit what it has buffered.
    command = f'unset PYTHONUNBUFFERED; "{sys.executable}" -m asvit {line}'
    assert subprocess.run(["sh", "-c", command], check=False).returncode == code

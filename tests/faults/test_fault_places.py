"""Disks that are full, folders that are elsewhere or locked, and output that nobody reads."""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_runs import ALONE, QUICK, fails, marked

import asvit
from tests.campaigns import forked
from tests.campaigns.kill_runs import RUN, Campaign, differences, outcome, words
from tests.traps import become_nobody, drop_privileges, nobody_may_read, small_disk

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


def named(run: str) -> list[str]:
    """The words of a training in a folder of this name."""
    return [*words("train")[:-1], run]


NAMES = {
    "strange": "größe 日本\n$(touch x);'\"",
    "dash": "-dash",
    "no text": os.fsdecode(b"gr\xe9"),
}


@pytest.mark.parametrize("run", NAMES.values(), ids=NAMES.keys())
def test_any_name_of_a_folder(campaign: Campaign, run: str) -> None:
    folder = campaign.new("train", f"named-{len(run)}")
    for _ in range(2):  # the second one finds the result
        assert forked.run(forked.command, named(run), folder) == 0
    assert "had finished before" in forked.printed(folder)
    assert not (folder / "x").exists()
    whole = campaign.reference("train")
    (folder / run).rename(folder / RUN)
    # They have the command, or the folder that it names.
    named_in = ["report.html", "result.json"]
    assert differences(outcome(folder / RUN), whole) == named_in


def test_a_link_to_a_folder_on_another_disk(campaign: Campaign) -> None:
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        pytest.skip("there is no other disk")
    folder = campaign.new("train", "linked")
    there = shared / f"asvit-test-{os.getpid()}"
    there.mkdir()
    try:
        (folder / RUN).symlink_to(there)
        assert there.stat().st_dev != folder.stat().st_dev
        campaign.finish("train", folder)
        changed = differences(outcome(folder / RUN), campaign.reference("train"))
        assert changed == ["report.html"]  # which has the folder's own name
    finally:
        for path in there.iterdir():
            path.unlink()
        there.rmdir()


def to_nobody(descriptor: int) -> None:
    """Let a stream end in a pipe whose reader has left, as that of ``head`` has."""
    reader, writer = os.pipe()
    os.close(reader)
    _redirect(descriptor, writer)


def to_full_disk(descriptor: int) -> None:
    """Let a stream go to a disk without space."""
    _redirect(descriptor, os.open("/dev/full", os.O_WRONLY))


def to_closed_terminal(descriptor: int) -> None:
    """Let a stream go to a terminal that has been closed, as nohup does."""
    ours, theirs = os.openpty()
    os.close(ours)
    _redirect(descriptor, theirs)


def _redirect(descriptor: int, target: int) -> None:
    os.dup2(target, descriptor)
    # A stream that was made for a file takes a pipe for one, too. This one has no buffer that the
    # end of the process would try to write again.
    raw = io.FileIO(descriptor, "w", closefd=False)
    setattr(sys, {1: "stdout", 2: "stderr"}[descriptor], io.TextIOWrapper(raw, write_through=True))


def lose(variable: str) -> None:
    """Have an environment variable name a folder that cannot be made."""
    os.environ[variable] = "/proc/nowhere"


def forget_home() -> None:
    """Have no home, neither by the environment nor by the user's entry."""
    import pwd

    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    pwd.getpwuid = unknown
    for name in ("HOME", "ASVIT_CACHE", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    tempfile.tempdir = str(Path.cwd())


#: What a training goes on without -> how that is brought about, and the exit code.
WITHOUT: Mapping[str, tuple[Callable[[], None], int]] = {
    "image cache": (partial(lose, "ASVIT_CACHE"), 0),
    "temporary folder": (partial(lose, "TMPDIR"), 0),
    "home": (forget_home, 0),
    "reader": (partial(to_nobody, 1), 0),
    "space for output": (partial(to_full_disk, 1), 3),
}


@pytest.mark.parametrize("what", WITHOUT)
def test_what_a_run_goes_on_without(campaign: Campaign, what: str) -> None:
    folder, (prepare, code) = campaign.new("train", f"without-{what}"), WITHOUT[what]
    command = [*words("train"), "--json"]
    assert forked.run(forked.command, command, folder, prepare=prepare) == code
    campaign.check_same("train", folder)
    said = forked.printed(folder)
    assert "Traceback" not in said
    assert ("cannot cache images in /proc/nowhere" in said) == (what == "image cache")
    assert any((folder / "asvit-cache").rglob("*.npy")) == (what == "home")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("cached", [None, 0o755, 0o700], ids=["empty", "readable", "unreadable"])
def test_a_cache_that_is_root_s(campaign: Campaign, open_folder: Path, cached: int | None) -> None:
    for library in (asvit, torch):
        if not nobody_may_read(str(library.__file__)):
            pytest.skip(f"other users may not read {library.__file__}")
    folder = open_folder / "work"
    if cached is None:
        (folder / forked.CACHE).mkdir(parents=True)
    else:
        campaign.finish("train", folder)
        (folder / RUN).rename(open_folder / "root's")
        for path in (folder / forked.CACHE).rglob("*"):
            path.chmod(cached if path.is_dir() else cached & 0o666)
        (folder / forked.CACHE).chmod(cached)
    before = forked.printed(folder)
    folder.chmod(0o777)
    assert forked.run(forked.command, words("train"), folder, prepare=become_nobody) == 0
    campaign.check_same("train", folder, what="beside a cache of root's")
    assert (folder / RUN).stat().st_uid != 0
    said = forked.printed(folder).removeprefix(before)
    assert said.count("asvit: ") == said.count("cannot cache images in") == (cached != 0o755)


@pytest.mark.parametrize("trap", [to_nobody, to_full_disk, to_closed_terminal])
def test_a_run_whose_progress_goes_nowhere_completes(
    campaign: Campaign, trap: Callable[[int], None]
) -> None:
    folder = campaign.new("train", f"unwatched-{trap.__name__}")
    assert forked.run(forked.command, words("train"), folder, prepare=partial(trap, 2)) == 0
    campaign.check_same("train", folder)


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

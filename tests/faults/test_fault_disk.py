"""Disks that are full, folders that may not be written to, and folders that are elsewhere."""

import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from tiny_runs import ALONE, QUICK, marked, told

from experiments import forked
from experiments.kill_runs import RUN, Campaign, differences, outcome, words
from tests.traps import drop_privileges, small_disk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' system calls")

NOT_ALLOWED = 77
PAGE = 4096


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
    whole, folder = campaign.new(name, "unfilled"), campaign.new(name, "filled")
    campaign.finish(name, whole)
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


@pytest.mark.parametrize("name", QUICK)
def test_a_folder_that_may_only_be_read(campaign: Campaign, name: str) -> None:
    folder = campaign.new(name, "read-only")
    (folder / RUN).mkdir(mode=0o500)
    assert forked.run(forked.command, words(name), folder, prepare=drop_privileges) == 3
    assert forked.printed(folder).splitlines() == [
        "asvit: run may not be written to; give --out a folder that may be"
    ]
    assert list((folder / RUN).iterdir()) == []


def lock_up(run: Path) -> None:
    """Take the right to write to a finished run away, once it is known who runs."""
    drop_privileges()
    run.chmod(0o500)


def test_a_finished_run_in_a_folder_that_may_only_be_read_says_so(campaign: Campaign) -> None:
    folder = campaign.new("train", "kept")
    campaign.finish("train", folder)
    prepare = partial(lock_up, folder / RUN)
    assert forked.run(forked.command, words("train"), folder, prepare=prepare) == 3
    assert told(folder) == ("asvit: run may not be written to; give --out a folder that may be")


@pytest.mark.parametrize("variable", ["ASVIT_CACHE", "TMPDIR"])
def test_no_place_for_images_and_temporary_files(campaign: Campaign, variable: str) -> None:
    folder = campaign.new("train", f"without-{variable}")
    environment = {variable: "/proc/nowhere"}
    assert forked.run(forked.command, words("train"), folder, environment=environment) == 0
    campaign.check_same("train", folder)
    warned = "cannot cache images in /proc/nowhere" in forked.printed(folder)
    assert warned == (variable == "ASVIT_CACHE")


def forget_home(folder: Path) -> None:
    """Have no home, neither by the environment nor by the user's entry."""
    import pwd

    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    pwd.getpwuid = unknown
    for name in ("HOME", "ASVIT_CACHE", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    tempfile.tempdir = str(folder)


def test_no_home(campaign: Campaign, tmp_path: Path) -> None:
    folder = campaign.new("train", "homeless")
    prepare = partial(forget_home, tmp_path)
    assert forked.run(forked.command, words("train"), folder, prepare=prepare) == 0
    campaign.check_same("train", folder)
    assert list((tmp_path / "asvit-cache").rglob("*.safetensors"))


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
    assert differences(outcome(folder / RUN), whole) == ["result.json"]  # which has the command


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
        campaign.check_same("train", folder)
    finally:
        for path in there.iterdir():
            path.unlink()
        there.rmdir()


def test_a_link_to_nowhere_is_refused(campaign: Campaign) -> None:
    folder = campaign.new("train", "dangling")
    (folder / RUN).symlink_to("nowhere")
    assert forked.run(forked.command, words("train"), folder) == 3
    assert told(folder).startswith("asvit: run is a link to nothing, not a folder")

"""Links, pipes and devices in the place of a run's files; for readers: tests/contracts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asvit.cli.app import app
from asvit.core.files import check_plain, write_text
from asvit.core.run_files import MARKER
from asvit.runs.folder import LOCK, check_folder, claimed, kind_in, newest_run
from asvit.runs.run import RUNS
from tests.hostile import PUT

MINE = b"keep this\n"


NAMES = sorted({(kind, name) for kind, run in RUNS.items() for name in run.files.names})
OTHERS = [("search", LOCK), ("search", MARKER), ("train", "tensorboard")]


@pytest.fixture(params=PUT)
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Puts it at a path, and returns the word for it; what it leads to must stay as it is."""
    mine = tmp_path / "mine"
    mine.write_bytes(MINE)

    def place(path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        PUT[request.param](path, mine)
        return str(request.param).split(" to ")[0]

    yield place
    assert mine.read_bytes() == MINE


def test_no_run_begins(put: Callable[[Path], str], tmp_path: Path) -> None:
    for kind, name in (*NAMES, *OTHERS):
        files, folder = RUNS[kind].files, tmp_path / kind / name
        words = put(folder / name)
        for fresh in (False, True):
            with pytest.raises(ValueError, match=f"{name} is {words}.*, not a file of its own; "):
                check_folder(folder, files, fresh=fresh)
            with (
                pytest.raises(ValueError, match=f"{name} is {words}"),
                claimed(folder, files, fresh=fresh),
            ):
                pytest.fail(f"{kind} claimed a folder with {name}")
        assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize("name", ["result.json", MARKER])
def test_report(
    name: str, put: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = put(tmp_path / "run" / name)
    if name != MARKER:
        (tmp_path / "run" / MARKER).write_text("search\n")
    with pytest.raises(SystemExit) as ended:
        app.main(["report", str(tmp_path / "run")])
    assert ended.value.code == 3
    assert f"{name} is {told}" in capsys.readouterr().err


def test_starting_over_removes_nothing_through_a_link(tmp_path: Path) -> None:
    mine, folder = tmp_path / "mine", tmp_path / "run"
    for place in (mine, folder):
        place.mkdir()
    (mine / "result.json").write_bytes(MINE)
    (folder / "training").symlink_to(mine)
    (folder / MARKER).write_text("design\n")

    def stages(_: Path) -> list[str]:
        return ["search/result.json", "training/result.json"]

    with (
        pytest.raises(ValueError, match="training is a link to a folder elsewhere, where"),
        claimed(folder, RUNS["design"].files, fresh=True, more=stages),
    ):
        pytest.fail("claimed")
    assert (mine / "result.json").read_bytes() == MINE


def test_what_is_the_users_own_stays(put: Callable[[Path], str], tmp_path: Path) -> None:
    """Beside a run's files, or in another run: neither opened nor refused."""
    folder = tmp_path / "run"
    for name in ("notes.txt", "teacher.safetensors", "data.jsonl"):
        put(folder / name)
    with claimed(folder, RUNS["search"].files):
        assert kind_in(folder) == "search"
    put(tmp_path / "other" / "result.json")
    with pytest.raises(FileNotFoundError, match="no finished search"):
        newest_run("search", tmp_path)


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with claimed(tmp_path / "link", RUNS["search"].files):
        write_text(tmp_path / "link" / "trials.csv", "x")
        check_plain(tmp_path / "link" / "trials.csv")
    assert (tmp_path / "real" / "trials.csv").read_text() == "x"
    check_plain(tmp_path / "none")
    check_plain(tmp_path / "link" / "trials.csv" / "none")


def test_a_device_is_called_so() -> None:
    with pytest.raises(ValueError, match="/dev/zero is a device, not a file of its own"):
        check_plain(Path("/dev/zero"))

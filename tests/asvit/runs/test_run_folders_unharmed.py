"""No run harms a folder of another kind of run, or of the user's own.

Every kind of run is tried in folders of other kinds, in every state that such a folder can be in,
with and without ``--fresh``; and in folders with files of the user's own.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from asvit.cli.app import app
from asvit.core.results import RUNS
from asvit.core.run_files import RECORDS
from asvit.runs.folder import RunFiles
from tests.asvit.cli.commands import write_weights
from tests.asvit.runs.fakes import fake_design, write_pictures
from tests.asvit.transfer.tiny_scenes import make_data
from tests.campaigns.kill_runs import COMMANDS, differences, outcome

_SCENES = (
    "4,2,2|4,1,2|4,1,2|4,1,2|16,8 --data data --image-size 32 --scale 1,1 --epochs 1"
    " --batch-size 2 --drop-path 0 --device cpu"
)
WORDS = {
    **COMMANDS,
    "design": "design --data pictures --max-params 1M --device cpu",
    "transfer detect": f"transfer detect {_SCENES} --train train --validation val --detector mask"
    " --fpn 4 --regions 4",
    "transfer segment": f"transfer segment {_SCENES} --classes 3 --head 4",
    "test": "test pictures --weights weights.safetensors --device cpu",
}
KINDS: Mapping[str, RunFiles] = {name: kind.files for name, kind in RUNS.items()}
STATES = ("finished", "unfinished", "damaged state", "result alone")
FRESH = [pytest.param((), id="plain"), pytest.param(("--fresh",), id="fresh")]
#: Each kind in the folder of the next one, which is in one of four states.
OTHERS = [
    (kind, [*KINDS, *KINDS][place + 1], STATES[place % 4], ("--fresh",) * (place // 4 % 2))
    for place, kind in enumerate(KINDS)
]
QUICK = ("search", "train")
DAMAGED = b"\0not what was written\n"
NOTES = {"notes.txt": b"mine\n", "scatter-mine.svg": b"<svg/>", "data.jsonl": b'{"a": 1}\n'}


def call(name: str, out: Path, *more: str) -> int:
    """The exit code of the command of a kind in the folder ``out``."""
    with pytest.raises(SystemExit) as ended:
        app.main([*WORDS[name].split(), "--out", str(out), "--quiet", *more])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def content(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, by its path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a finished run of every kind, begun beside files of the user's own."""
    root = tmp_path_factory.mktemp("kinds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr("asvit.report.pictures.Picture.svg", "<svg/>")  # takes most of the time
        fake_design(patch.setattr)
        write_pictures(root / "pictures")
        write_weights(root / "weights.safetensors")
        make_data(2, 1)
        for name in KINDS:
            for note, data in NOTES.items():
                path = root / name / note
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
            assert call(name, root / name) == 0
            if name == "supernet train":
                shutil.copytree(root / name, root / "supernet")
        yield root


@pytest.fixture(autouse=True)
def _beside_the_supernet(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)


def prepared(made: Path, kind: str, state: str, folder: Path) -> Path:
    """A copy of the run of ``kind`` in a state."""
    shutil.copytree(made / kind, folder)
    keep = {"finished": None, "result alone": "result.json"}.get(state, RECORDS)
    for path in list(folder.iterdir()):
        if keep is not None and path.name not in (keep, ".lock", ".kind"):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    if state == "damaged state":
        (folder / RECORDS).write_bytes(DAMAGED)
    return folder


@pytest.mark.parametrize(("kind", "other", "state", "fresh"), OTHERS)
def test_another_kind_of_run_is_refused_and_left_as_it_is(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    other: str,
    state: str,
    fresh: tuple[str, ...],
) -> None:
    folder = prepared(made, other, state, tmp_path / "run")
    before = content(folder)
    assert call(kind, folder, *fresh) == 3
    assert content(folder) == before
    (line,) = capsys.readouterr().err.splitlines()
    assert str(folder) in line
    assert "--out" in line


@pytest.mark.parametrize("fresh", FRESH)
@pytest.mark.parametrize("kind", QUICK)
def test_files_of_the_users_own_that_are_called_like_ours_are_refused(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    fresh: tuple[str, ...],
) -> None:
    for name in KINDS[kind].names:
        (tmp_path / name).write_bytes(b"mine\n")
        assert call(kind, tmp_path, *fresh) == 3, name
        assert "copy the whole run folder, or give --out" in capsys.readouterr().err
        assert content(tmp_path) == {name: b"mine\n"}
        (tmp_path / name).unlink()


@pytest.mark.parametrize("kind", QUICK)
def test_a_run_and_starting_over_leave_other_files_of_the_users_own(
    made: Path, tmp_path: Path, kind: str
) -> None:
    folder = prepared(made, kind, "finished", tmp_path / "run")
    before = content(folder)
    assert before.items() >= NOTES.items()
    state = folder / RECORDS
    state.write_bytes(DAMAGED)
    assert call(kind, folder, "--fresh") == 0
    after = content(folder)
    assert after.keys() == before.keys()
    assert after.items() >= NOTES.items()
    assert state.read_bytes() != DAMAGED


@pytest.mark.parametrize("kind", QUICK)
def test_what_follows_from_the_state_is_written_again(
    made: Path, tmp_path: Path, kind: str
) -> None:
    folder = prepared(made, kind, "finished", tmp_path / "run")
    before = outcome(folder)
    for name in KINDS[kind].names[:-1]:
        if not name.endswith(".safetensors"):
            (folder / name).unlink(missing_ok=True)
    assert call(kind, folder) == 0
    assert (folder / "result.json").exists()
    # Commands name the folder, and a list the way from there to its pictures.
    follow = {"result.json", "report.html", "images.csv"}
    assert set(differences(outcome(folder), before)) <= follow


@pytest.mark.parametrize("state", ["damaged state", "result alone"])
@pytest.mark.parametrize("kind", QUICK)
def test_a_run_without_its_state_is_refused_and_left_as_it_is(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, state: str
) -> None:
    folder = prepared(made, kind, state, tmp_path / "run")
    before = content(folder)
    assert call(kind, folder) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert RECORDS in line
    assert content(folder) == before


#: Command, other options, and what is said of them.
CHANGED = [
    ("search", "--steps 3 --image-size 64", "steps 8 (now 3), image_size 32 (now 64)"),
    ("scale", "--budget 1.9M --seed 4", "budgets 2M (now 1.9M), seed 0 (now 4)"),
    ("scale", "--budget 2G", "budgets 2M (now 2G)"),
    ("correlate", "--repeats 3 --seed 4", "repeats 1 (now 3), seed 0 (now 4)"),
    ("train", "--epochs 10 --retokenize 4/3/3", "epochs 9 (now 10), "),
    ("supernet train", "--epochs 4", "epochs 3 (now 4)"),
    ("transfer detect", "--epochs 4", "epochs 1 (now 4)"),
    ("transfer segment", "--scale 1,2", "scale 1.0,1.0 (now 1.0,2.0)"),
    ("supernet evolve", "--population 6", "population 5 (now 6)"),
    ("test", "--batch-size 3", "batch_size 32 (now 3)"),
]


@pytest.mark.parametrize(("kind", "more", "told"), CHANGED)
def test_other_settings_are_refused_and_nothing_is_lost(
    made: Path, capsys: pytest.CaptureFixture[str], kind: str, more: str, told: str
) -> None:
    before = content(made / kind)
    assert call(kind, made / kind, *more.split()) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert f"was started with {told}" in line
    assert line.endswith("; give --out for a new folder or --fresh to start over")
    assert content(made / kind) == before


def test_a_run_of_a_kind_that_is_not_known_here_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".kind").write_text("pruning\n")
    before = content(tmp_path)
    for fresh in ((), ("--fresh",)):
        assert call("search", tmp_path, *fresh) == 3
        assert "holds a run of another kind, 'pruning'" in capsys.readouterr().err
        assert content(tmp_path) == before

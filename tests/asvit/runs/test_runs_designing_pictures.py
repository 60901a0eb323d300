"""The pictures of a design: a list that cannot change unnoticed, parts, copies, and moves."""

import contextlib
import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asvit.core.progress import ignore
from asvit.data.base import TEST
from asvit.data.files import FolderDataset
from asvit.data.files import write_pictures as write_images
from asvit.data.fractals import FractalDataset
from asvit.data.tables import ListedDataset
from asvit.data.training_sets import open_training_sets
from asvit.designs import fractals
from asvit.designs.pictures import PictureList, open_pictures, sampled_facts
from asvit.designs.result import DesignResult
from asvit.designs.settings import DesignSettings
from asvit.runs.algorithms.training import TrainAlgorithm
from asvit.runs.designing import DesignRun, design
from tests.asvit.cli.commands import run
from tests.asvit.data.archives import samples, shards
from tests.asvit.data.test_idx import write_idx
from tests.asvit.runs.designing_fakes import SPACE, Fakes, results_in, without_times
from tests.asvit.runs.fakes import write_pictures
from tests.hostile import flipped

LIMIT = {"max_params": "100K", "space": "asvit"}


@pytest.fixture
def stopped(tmp_path: Path, fakes: Fakes) -> Callable[[str], Path]:
    """A design of ``pictures`` in ``run``, stopped in a stage; names are relative."""
    write_pictures(tmp_path / "pictures", each=20)

    def stop(stage: str) -> Path:
        fakes.stop_in(stage, "pictures", out="run", **LIMIT)
        fakes.calls.clear()
        return tmp_path / "run" / "images.csv"

    return stop


def rows(table: Path) -> list[dict[str, str]]:
    lines = table.read_text().splitlines()
    assert lines[0] == "# images in ../pictures"
    return list(csv.DictReader(lines[1:]))


def names(table: Path, part: str) -> list[str]:
    return [row["image"] for row in rows(table) if row["part"] == part]


@pytest.mark.parametrize("stage", ["search", "training", "finalist-2", "test training"])
def test_a_list_that_was_edited_is_refused(
    stage: str, stopped: Callable[[str], Path], fakes: Fakes
) -> None:
    table = stopped(stage)
    text = table.read_text()
    for edited in (
        text.replace(",train,", ",test,", 1),
        text.replace("class0,train", "class1,train", 1),
        text.rsplit("\n", 2)[0] + "\n",
    ):
        table.write_text(edited)
        with pytest.raises(ValueError, match=r"images\.csv is not the list that the design beg"):
            design("pictures", out="run", **LIMIT)
        assert fakes.calls == []
    table.write_text(text)
    design("pictures", out="run", **LIMIT)


def test_a_list_that_is_missing_is_written_again_or_refused(
    stopped: Callable[[str], Path], fakes: Fakes, caplog: pytest.LogCaptureFixture
) -> None:
    table = stopped("training")
    text = table.read_text()
    table.unlink()
    more = Path("pictures") / "class0" / "more.jpg"
    shutil.copy(Path("pictures") / "class0" / "000.jpg", more)
    with more.open("ab") as file:
        file.write(b"another one")
    with pytest.raises(ValueError, match=r"images\.csv is missing, and the pictures in pictures "):
        design("pictures", out="run", **LIMIT)
    assert not table.exists()
    assert fakes.calls == []
    more.unlink()
    result = design("pictures", out="run", **LIMIT)
    assert table.read_text() == text
    more.write_bytes(b"")
    table.unlink()
    assert without_times(design("pictures", out="run", **LIMIT)) == without_times(result)
    assert "images.csv is missing" not in caplog.text  # an unreadable one is in no list
    (Path("pictures") / names_of(text)[0]).unlink()
    table.unlink()
    assert without_times(design("pictures", out="run", **LIMIT)) == without_times(result)
    assert "images.csv is missing, and the pictures in pictures give another one" in caplog.text


def test_a_finished_design_is_shown_without_its_pictures(
    stopped: Callable[[str], Path], fakes: Fakes, caplog: pytest.LogCaptureFixture
) -> None:
    table = stopped("latency")
    result = design("pictures", out="run", **LIMIT)
    Path("pictures").rename("elsewhere")
    fakes.calls.clear()
    assert without_times(design("pictures", out="run", **LIMIT)) == without_times(result)
    assert "no folder" not in caplog.text
    table.unlink()
    assert without_times(design("pictures", out="run", **LIMIT)) == without_times(result)
    assert "no folder" in caplog.text
    assert fakes.calls == []
    with pytest.raises(FileNotFoundError, match="no folder"):
        design("pictures", out="run", fresh=True, **LIMIT)


def names_of(text: str) -> list[str]:
    return [line.partition(",")[0] for line in text.splitlines()[2:]]


def replace(path: Path) -> None:
    other = next(one for one in sorted(path.parent.iterdir()) if one != path)
    path.write_bytes(other.read_bytes())


def flip(path: Path) -> None:
    path.write_bytes(flipped(path.read_bytes(), -72))


@pytest.mark.parametrize("harm", [Path.unlink, replace, flip])
def test_pictures_that_changed_are_refused_or_left_out_of_the_test(
    harm: Callable[[Path], None],
    stopped: Callable[[str], Path],
    fakes: Fakes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = stopped("training")
    trained, tested = (Path("pictures") / names(table, part)[0] for part in ("train", "test"))
    content = trained.read_bytes()
    harm(trained)
    with pytest.raises(ValueError, match=f"1 picture.* to train on are not .*{trained.name}"):
        design("pictures", out="run", **LIMIT)
    assert fakes.calls == []
    trained.write_bytes(content)
    harm(tested)
    caplog.clear()
    result = design("pictures", out="run", **LIMIT)
    name = str(tested.relative_to("pictures"))
    assert (
        "1 picture(s) to test on are not what the design began with, and are left" in caplog.text
    )
    assert caplog.text.count(name) == 1
    assert list(result.left_out) == [name]
    assert result.test_pictures == len(names(table, "test")) - 1
    assert f"of {result.test_pictures} pictures" in fakes.card["accuracy"]
    assert name in Path("run/report.html").read_text()


def test_a_test_picture_that_is_of_another_kind_now_is_left_out(
    tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvit.designs.pictures._FRACTALS", 10)
    monkeypatch.setattr("asvit.designs.pictures._FRACTAL_SIDE", 8)
    options = {"max_params": "100K", "space": SPACE, "out": tmp_path}
    fakes.stop_in("training", "fractal:2", **options)
    test = ListedDataset(tmp_path / "images.csv", TEST)
    Image.fromarray(np.ones((8, 8), np.uint16)).save(test.path(0))
    result = design("fractal:2", **options)
    assert list(result.left_out) == [test.name(0)]
    assert result.test_pictures == len(test) - 1


def test_a_test_whose_pictures_are_all_gone_is_refused(
    stopped: Callable[[str], Path], fakes: Fakes
) -> None:
    table = stopped("test training")
    shutil.copytree("pictures", "copy")
    for name in names(table, "test"):
        (Path("pictures") / name).unlink()
    with pytest.raises(ValueError, match=r"8 of 8 pictures to test on are not what the design"):
        design("pictures", out="run", **LIMIT)
    result = design("copy", out="run", **LIMIT)  # the same pictures
    assert result.test_pictures == 8


@pytest.mark.parametrize("finished", [False, True])
def test_a_design_goes_on_where_it_or_its_pictures_have_moved(
    finished: bool, stopped: Callable[[str], Path], fakes: Fakes, tmp_path: Path
) -> None:
    stopped("training")
    if finished:
        design("pictures", out="run", **LIMIT)
    Path("run").rename("renamed")
    before = Path("renamed/result.json").read_bytes() if finished else b""
    result = design(tmp_path / "pictures", out="renamed", **LIMIT)
    assert not finished or Path("renamed/result.json").read_bytes() == before
    assert result.next_command == "asvit predict PICTURE --weights renamed"
    (tmp_path / "deep" / "er").mkdir(parents=True)
    Path("renamed").rename("deep/er/run")
    Path("pictures").rename("moved")
    again = design("moved", out="deep/er/run", **LIMIT)
    assert Path("deep/er/run/images.csv").read_text().startswith("# images in ../../../moved\n")
    read = DesignResult.read(tmp_path / "deep" / "er" / "run" / "result.json")
    assert read.next_command.endswith(f"--weights {tmp_path}/deep/er/run")
    assert again.next_command in again.commands
    assert again.accuracy == result.accuracy
    shutil.copytree("moved", "changed")
    replace(Path("changed/class0/000.jpg"))
    files = {path: path.read_bytes() for path in Path("deep/er/run").rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"with other pictures than those in changed: class0/000"):
        design("changed", out="deep/er/run", **LIMIT)
    assert files == {path: path.read_bytes() for path in files}


def test_copies_are_on_one_side_and_named(
    tmp_path: Path,
    fakes: Fakes,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TrainAlgorithm, "plan", lambda run: run.sets and fakes.plan(run))
    folder = write_pictures(tmp_path / "pictures", each=20)
    files = sorted((folder / "class0").iterdir())
    for file in files[:15]:
        shutil.copy(file, folder / "class0" / f"x{file.name}")
    shutil.copy(files[16], folder / "class1" / "wrong.jpg")
    result = design(folder, out=tmp_path / "run", **LIMIT)
    table = tmp_path / "run" / "images.csv"
    digests = [
        {row["sha256"] for row in rows(table) if row["part"] == part} for part in ("train", "test")
    ]
    assert not digests[0] & digests[1]
    assert len(digests[1]) == result.test_pictures
    assert result.train_pictures + result.test_pictures == len(rows(table))
    assert ["class0/000.jpg", "class0/x000.jpg"] in [[*one] for one in result.equal]
    assert "15 picture(s) have copies: " in caplog.text
    assert caplog.text.count(" have copies: ") == 1  # no training names them again
    assert "1 picture(s) are in several classes: class0/032.jpg = class1/wrong.jpg" in caplog.text
    assert "1 picture(s) cannot be read and are left out: class1/039.jpg (" in caplog.text
    assert "class1/wrong.jpg" in (tmp_path / "run" / "report.html").read_text()
    content = files[0].read_bytes()
    for file in (folder / "class0").iterdir():
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"class 'class0' has 1 readable .* without copies"):
        design(folder, out=tmp_path / "other", **LIMIT)


def test_a_picture_whose_name_is_not_utf8_is_left_out_and_named(
    tmp_path: Path, fakes: Fakes, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_pictures(tmp_path / "pictures")
    name = b"class0/pet\xe9.jpg".decode(errors="surrogateescape")
    (folder / "class0" / "000.jpg").rename(folder / name)
    result = design(folder, max_params="100K", space=SPACE, out=tmp_path / "run")
    assert result.unreadable[name] == "its name is not UTF-8; rename it"
    assert r"class0/pet\udce9.jpg (its name is not UTF-8; rename it)" in caplog.text
    assert r"pet\udce9.jpg" in (tmp_path / "run" / "report.html").read_text()


def test_no_absolute_path_is_stored(stopped: Callable[[str], Path], tmp_path: Path) -> None:
    stopped("training")
    design("pictures", out="run", **LIMIT)
    for path in Path("run").rglob("*"):
        if path.is_file():
            assert str(tmp_path) not in path.read_text(), path


def test_what_is_said_beforehand_is_of_the_pictures_to_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train", "test"):
        write_pictures(tmp_path / name, each=24)
    for path in sorted((tmp_path / "train" / "class1").iterdir())[:18]:
        path.unlink()
    facts = sampled_facts(open_pictures(str(tmp_path)), side=64)
    assert (facts.train, facts.validation, facts.sizes) == (30, 0, [24, 6])
    for fewer in (30, 31):
        monkeypatch.setattr(fractals, "FRACTALS_BELOW", fewer)
        title = DesignRun.make(data=str(tmp_path), max_params="1M", hours=1.0).title
        assert ("fractals " in title) == (fewer == 31)
        assert "the largest class has 4.0 times the pictures of the smallest" in title
        assert "\n30 pictures are few to train on from scratch" in title


def test_a_design_of_other_generated_pictures_starts_over_without_the_old_ones(
    tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "100K", "space": SPACE, "out": tmp_path}
    design("fractal:3", **limits)
    result = design("fractal:2", fresh=True, **limits)
    assert len(result.classes) == 2
    assert result.train_pictures + result.test_pictures == 120


@pytest.mark.parametrize("stop", ["search", ""])
def test_other_generated_pictures_are_refused(
    stop: str, pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "100K", "space": SPACE, "out": tmp_path}
    if stop:
        fakes.stop_in(stop, "fractal:3", **limits)
    else:
        design("fractal:3", **limits)
    for other in ("fractal:2", str(pictures)):
        with pytest.raises(ValueError, match="was started with other settings: data fractal:3"):
            design(other, **limits)


def test_a_finished_design_is_not_said_to_be_of_other_pictures(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "100K", "space": SPACE, "out": tmp_path / "run"}
    design(pictures, **limits)
    before = (tmp_path / "run" / "images.csv").read_text()
    other = write_pictures(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="was started with other pictures than those in"):
        design(other, **limits)
    assert (tmp_path / "run" / "images.csv").read_text() == before


@pytest.mark.parametrize(("data", "classes"), [("digits", 10), ("fractal:3", 3)])
def test_generated_pictures_need_no_folder(
    data: str, classes: int, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvit.designs.pictures._FRACTALS", 6)
    monkeypatch.setattr("asvit.designs.pictures._FRACTAL_SIDE", 8)
    limits = {"max_params": "100K", "space": SPACE}
    result = design(data, out=tmp_path / "run", **limits)
    assert len(result.classes) == classes
    (folder,) = (tmp_path / "run").glob("pictures-*")
    assert len([*folder.iterdir()]) == classes
    fakes.calls.clear()
    assert without_times(design(data, out=tmp_path / "run", **limits)) == without_times(result)
    assert fakes.calls == []


def test_weights_of_fractals_are_of_other_fractals_than_those_of_a_trial() -> None:
    pictures, seed = open_pictures("fractal:3"), DesignSettings(data="fractal:3").seed
    known = FractalDataset(3, 60, 64, seed=seed)
    names, others = ({one.name(at) for at in range(len(one))} for one in (pictures, known))
    assert len(names) == len(others) == 180
    assert names.isdisjoint(others)
    first, other = (np.asarray(one.picture(0)) for one in (pictures, known))
    assert first.shape == other.shape
    assert (first != other).any()


def test_pictures_of_a_table_are_trained_and_tested_apart(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    design(pictures, max_params="100K", space=SPACE, out=tmp_path)
    table = tmp_path / "images.csv"
    sets = open_training_sets(str(table), image_size=32, seed=0)
    test = ListedDataset(table, TEST)
    names = [{one.name(n) for n in range(len(one))} for one in (sets.train, sets.validation, test)]
    assert [len(one) for one in names] == [13, 2, 4]
    assert len(set.union(*names)) == 19
    assert sets.classes == test.classes == ("class0", "class1")


@pytest.mark.parametrize(
    ("parts", "counts"),
    [
        (("train", "val", "test"), (24, 20, 20)),
        (("train", "valid"), (22, 2, 20)),
        (("train", "test"), (22, 2, 20)),
    ],
)
def test_a_layout_of_parts_is_trained_and_tested_on_its_own(
    parts: tuple[str, ...], counts: tuple[int, ...], tmp_path: Path, fakes: Fakes
) -> None:
    for seed, name in enumerate(parts):
        each = 12 if name == "train" else 10
        folder = write_pictures(tmp_path / "data" / name, each=each, seed=seed)
        (folder / "class1" / ("023.jpg" if name == "train" else "019.jpg")).unlink()
        write_pictures(tmp_path / "more", each=13, seed=3 + seed)
        (tmp_path / "more" / "class1" / "001.jpg").rename(folder / "class1" / "900.jpg")
    result = design(tmp_path / "data", max_params="100K", space=SPACE, out=tmp_path / "run")
    table = tmp_path / "run" / "images.csv"
    sets = open_training_sets(str(table), image_size=32, seed=0)
    test = ListedDataset(table, TEST)
    assert (len(sets.train), len(sets.validation), len(test)) == counts
    assert {Path(test.name(n)).parent.parent.name for n in range(len(test))} == {parts[-1]}
    assert (result.train_pictures, result.test_pictures) == (sum(counts[:2]), 20)
    facts = results_in(tmp_path / "run").pictures
    assert facts.validation == (counts[1] if len(parts) == 3 else 0)
    dry = run("design", "--data", tmp_path / "data", "--max-params", "1M", "--dry-run")
    assert f"pictures {sum(counts)} of 2 classes" in dry.stdout


def test_a_batch_is_of_the_pictures_to_train_on_however_many_are_for_validation(
    tmp_path: Path, fakes: Fakes
) -> None:
    for seed, (name, each) in enumerate({"train": 6, "val": 40, "test": 10}.items()):
        write_pictures(tmp_path / "data" / name, each=each, seed=seed)
    design(tmp_path / "data", max_params="100K", space=SPACE, out=tmp_path / "run")
    facts = results_in(tmp_path / "run").pictures
    assert facts.train - facts.validation == 11
    assert {run.batch_size for run in fakes.trained.values()} == {4}


def test_no_part_of_a_layout_has_copies_of_another(tmp_path: Path, fakes: Fakes) -> None:
    for seed, name in enumerate(("train", "val", "test")):
        write_pictures(tmp_path / "data" / name, seed=seed)
    data = tmp_path / "data"
    for source, target in (
        ("test/class0/000.jpg", "train/class0/copy.jpg"),
        ("test/class0/000.jpg", "test/class0/copy.jpg"),
        ("val/class1/001.jpg", "train/class1/copy.jpg"),
        ("test/class0/002.jpg", "val/class1/other.jpg"),
    ):
        shutil.copy(data / source, data / target)
    design(data, max_params="100K", space=SPACE, out=tmp_path / "run")
    table = (tmp_path / "run" / "images.csv").read_text()
    assert table.count("test/class0/000.jpg") == table.count("val/class1/001.jpg") == 1
    for name in ("copy.jpg", "other.jpg", "test/class0/002.jpg"):
        assert name not in table  # the last two are in two classes


def test_a_run_folder_beside_classes_or_parts_is_none_of_them(
    tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "100K", "space": SPACE}
    with contextlib.chdir(write_pictures(tmp_path / "pictures")):
        result = design(".", **limits)
        assert result.folder.parent == Path("runs")
        assert [*result.classes] == ["class0", "class1"]
        assert design(".", **limits).classes == result.classes
    for seed, name in enumerate(("train", "test")):
        write_pictures(tmp_path / "parts" / name, seed=seed)
    result = design(tmp_path / "parts", out=tmp_path / "parts" / "run", **limits)
    assert [*result.classes] == ["class0", "class1"]


def test_a_layout_whose_parts_do_not_suit_is_refused(tmp_path: Path, fakes: Fakes) -> None:
    write_pictures(tmp_path / "few" / "train", each=3)
    write_pictures(tmp_path / "few" / "test", each=10, seed=1)
    with pytest.raises(ValueError, match=r"'class0' has 3 readable picture\(s\) to train on"):
        design(tmp_path / "few", max_params="1M", out=tmp_path / "run")
    dry = run("design", "--data", tmp_path / "few", "--max-params", "1M", "--dry-run")
    assert "class 'class0' has 3 readable picture(s) to train on; it needs 4" in dry.stderr
    write_pictures(tmp_path / "other" / "train", classes=2)
    write_pictures(tmp_path / "other" / "test", classes=3)
    with pytest.raises(ValueError, match=r"class 'class2' of .* is missing"):
        design(tmp_path / "other", max_params="1M", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_test_of_one_picture_is_refused_before_anything_is_trained(
    tmp_path: Path, fakes: Fakes
) -> None:
    write_pictures(tmp_path / "data" / "train")
    write_pictures(tmp_path / "data" / "test", each=1, seed=1)  # of which one is truncated
    with pytest.raises(ValueError, match=r"there are 1 readable picture\(s\) to test on"):
        design(tmp_path / "data", max_params="100K", space=SPACE, out=tmp_path / "run")
    assert fakes.calls == []


def test_pictures_that_do_not_suit_are_refused(tmp_path: Path) -> None:
    tests = write_pictures(tmp_path / "tests" / "val").parent
    one = write_pictures(tmp_path / "one", classes=1)
    few = write_pictures(tmp_path / "few", each=4)
    for folder, words in (
        (tests, "has no images to train on, but only parts test"),
        (one, "of one class, 'class0'; give a folder with"),
        (few, r"has \d readable picture\(s\)"),
    ):
        with pytest.raises(ValueError, match=words):
            design(folder, max_params="1M", out=tmp_path / "run")
    dry = run("design", "--data", few, "--max-params", "1M", "--dry-run")
    assert (dry.exit_code, dry.stdout) == (3, "")
    assert "class 'class0' has 4 readable picture(s); to train, validate and test it" in dry.stderr
    with pytest.raises(FileNotFoundError, match="no folder"):
        design(tmp_path / "none", max_params="1M", out=tmp_path / "run")


def test_what_is_wrong_with_pictures_is_said_before_they_are_too_few(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for label in ("dry", "wet"):
        (tmp_path / "empty" / label).mkdir(parents=True)
        for number in range(6):
            np.save(tmp_path / f"empty/{label}/{number}.npy", np.zeros((40, 40, 0), np.uint16))
    with pytest.raises(ValueError, match=r"class 'dry' has 0 readable picture\(s\)"):
        design(tmp_path / "empty", max_params="1M", out=tmp_path / "run")
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "12 picture(s) cannot be read and are left out: dry/0.npy (" in warning
    assert "channel" in warning


@pytest.mark.parametrize(
    ("sizes", "clear", "expected", "side"),
    [
        ([(40, 40), (50, 40)], False, ("crop", "auto"), 40),
        ([(120, 40)], False, ("squash", "auto"), 120),
        ([(120, 40), (40, 120)], True, ("pad", "white"), 120),
        ([(40, 40)], True, ("crop", "white"), 40),
    ],
)
def test_all_runs_prepare_pictures_as_these_need_it(
    sizes: list[tuple[int, int]],
    clear: bool,
    expected: tuple[str, str],
    side: int,
    tmp_path: Path,
    fakes: Fakes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        width, height = sizes[number // 2 % len(sizes)]
        pixels = np.zeros((height, width, 4), np.uint8)
        pixels[..., 3] = 255 * (rng.random((height, width)) < 0.5) if clear else 255
        pixels[..., 0] = rng.integers(0, 60, (height, width))
        path = tmp_path / "set" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    design("set", out="run", **LIMIT)
    fit, ground = expected
    facts = results_in(tmp_path / "run").pictures
    assert (facts.fit, facts.ground or "auto", facts.side) == (fit, ground, side)
    assert {*fakes.prepared.values()} == {expected}
    assert ("leave out 67% of their area: networks see them whole" in caplog.text) == (
        fit != "crop"
    )
    assert (
        "transparent pictures, 32 of 32 looked at, are laid over white" in caplog.text
    ) == clear
    assert sampled_facts(open_pictures("set"), side=7).fit == fit


def test_a_design_of_idx_files_tests_on_their_own_part(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "set", {"train": 30, "t10k": 8})
    pictures = PictureList(tmp_path / "run" / "images.csv", str(folder), 0)
    pictures.path.parent.mkdir()
    facts = pictures.make(ignore)
    assert (facts.train, facts.test, facts.side, facts.channels) == (30, 8, 12, 1)
    assert facts.pixels == "uint8 grey"
    assert len(pictures.tested) == 8
    assert sampled_facts(open_pictures(str(folder)), side=64).train == 30
    pictures.check(facts.digest, training=True)
    write_idx(folder, {"train": 30, "t10k": 8}, side=11)
    with pytest.raises(ValueError, match=r"30 picture.s. to train on are not what the design"):
        pictures.check(facts.digest, training=True)


def test_whatever_trains_also_designs(tmp_path: Path) -> None:
    """Archives and tables: the pictures of a folder, with the same classes."""
    folder = write_pictures(tmp_path / "pictures", each=10)
    pattern = shards(tmp_path, samples(folder, names=True))
    archived = open_pictures(f"wds:{pattern}")
    write_images(archived, range(len(archived)), tmp_path / "written")
    table = tmp_path / "table.csv"
    whole = FolderDataset(folder)
    rows = [
        f"pictures/{whole.name(at)},{whole.classes[label]},{'test' if at % 5 == 4 else 'train'}"
        for at, label in enumerate(whole.labels.tolist())
    ]
    table.write_text("\n".join(["image,class,part", *rows]))
    found = {}
    for name, source in {"table": table, "archives": tmp_path / "written"}.items():
        (tmp_path / name).mkdir()
        found[name] = PictureList(tmp_path / name / "images.csv", str(source), 0).make(ignore)
        assert found[name].classes == whole.classes
    assert (found["table"].train, found["table"].test) == (16, 3)  # one cannot be read
    assert found["archives"].train + found["archives"].test == 19


def test_parts_of_a_library_stay_apart(tmp_path: Path) -> None:
    images = FractalDataset(2, 3, 16)
    images.parts = np.array([*["train"] * 4, *["test"] * 2], dtype=object)
    images.classes = ("a/b", "ö.%")
    write_images(images, range(6), tmp_path)
    there = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert len(there) == 6
    assert {name.rpartition("/")[0] for name in there} == {
        f"{part}/{label}" for part in ("train", "test") for label in ("a%2Fb", "ö.%25")
    }

"""The pictures of a design: a list that cannot change unnoticed, parts, copies, and moves."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asvit.data.base import TEST
from asvit.data.tables import open_table
from asvit.data.training_sets import open_training_sets
from asvit.designs.pictures import open_pictures, sampled_facts
from asvit.runs.algorithms import design_trainings
from asvit.runs.designing import design
from asvit.runs.run_folder import RunFolder
from asvit.training.loaders import open_sets
from tests.asvit.cli.commands import run
from tests.asvit.runs.designing_fakes import SPACE, Fakes, results_in, without_times
from tests.asvit.runs.fakes import write_pictures

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


def test_copies_are_on_one_side_and_named(
    tmp_path: Path,
    fakes: Fakes,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def plan(run: RunFolder[Any, Any]) -> object:
        open_sets(run.settings, quiet=True)
        return fakes.plan(run)

    monkeypatch.setattr(design_trainings, "plan", lambda run, _sets=None: plan(run))
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


def test_no_absolute_path_is_stored(stopped: Callable[[str], Path], tmp_path: Path) -> None:
    stopped("training")
    design("pictures", out="run", **LIMIT)
    for path in Path("run").rglob("*"):
        if path.is_file():
            assert str(tmp_path) not in path.read_text(), path


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


def test_pictures_of_a_table_are_trained_and_tested_apart(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    design(pictures, max_params="100K", space=SPACE, out=tmp_path)
    table = tmp_path / "images.csv"
    sets = open_training_sets(str(table), image_size=32, seed=0)
    test = open_table(table, TEST)
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
    test = open_table(table, TEST)
    assert (len(sets.train), len(sets.validation), len(test)) == counts
    assert {Path(test.name(n)).parent.parent.name for n in range(len(test))} == {parts[-1]}
    assert (result.train_pictures, result.test_pictures) == (sum(counts[:2]), 20)
    facts = results_in(tmp_path / "run").pictures
    assert facts.validation == (counts[1] if len(parts) == 3 else 0)
    dry = run("design", "--data", tmp_path / "data", "--max-params", "1M", "--dry-run")
    assert f"pictures {sum(counts)} of 2 classes" in dry.stdout


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


def replace(path: Path) -> None:
    other = next(one for one in sorted(path.parent.iterdir()) if one != path)
    path.write_bytes(other.read_bytes())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


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

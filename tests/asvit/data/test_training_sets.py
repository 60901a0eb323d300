"""Images to train on and to validate with."""

from pathlib import Path

import numpy as np
import pytest
from image_folders import fill

from asvit.data import open_dataset, open_training_sets
from asvit.data.sources import class_count
from asvit.data.training_sets import TrainingSets


def opened(spec: object, **given: object) -> TrainingSets:
    return open_training_sets(str(spec), **{"image_size": 8, "seed": 0, **given})


def names(sets: TrainingSets) -> list[set[str]]:
    return [{part.name(i) for i in range(len(part))} for part in (sets.train, sets.validation)]


def test_a_folder_of_classes_is_divided(tmp_path: Path) -> None:
    sets = opened(fill(tmp_path / "pets", cat=10, dog=30), held_out=0.2)
    assert sets.classes == ("cat", "dog")
    assert np.bincount(sets.train.labels).tolist() == [8, 24]
    assert np.bincount(sets.validation.labels).tolist() == [2, 6]
    train, validation = names(sets)
    assert not train & validation
    assert len(train | validation) == 40
    for part in (sets.train, sets.validation):
        for index, label in enumerate(part.labels.tolist()):
            number = int(Path(part.name(index)).stem)
            assert part.name(index).startswith(f"{sets.classes[label]}/")
            assert part.picture(index).getpixel((0, 0)) == (number, label, 0)
    assert "40 images, 2 classes; 32 of them for training" in sets.provenance["source"]
    assert sets.provenance["validation"].endswith("; 8 of them for validation")


def test_the_images_to_validate_with_may_be_trained_on_too(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets", cat=10, dog=30)
    apart = opened(folder, held_out=0.2)
    joined = opened(folder, held_out=0.2, train_on_validation=True)
    train, validation = names(joined)
    assert validation == names(apart)[1]
    assert train == names(apart)[0] | validation
    assert (len(joined.train), len(joined.validation)) == (40, 8)
    for index, label in enumerate(joined.train.labels.tolist()):
        number = int(Path(joined.train.name(index)).stem)
        assert joined.train.picture(index).getpixel((0, 0)) == (number, label, 0)
        joined.train.check(index)
    assert joined.provenance["digest"] != apart.provenance["digest"]
    few = opened(folder, held_out=0.2, train_on_validation=True, validation_images=2)
    assert names(few)[0] == train
    assert len(few.validation) == 2


def test_the_digest_follows_the_seed_and_the_images_and_not_their_place(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pets", cat=10, dog=10)
    first, again, other = (opened(folder, seed=seed).provenance["digest"] for seed in (0, 0, 1))
    assert first == again != other
    moved = folder.rename(tmp_path / "animals")
    assert opened(moved).provenance["digest"] == first
    (moved / "cat" / "000.png").rename(moved / "cat" / "zero.png")
    assert opened(moved).provenance["digest"] != first


@pytest.mark.parametrize("part", ["val", "validation", "valid", "dev", "eval", "test"])
def test_a_folder_of_parts(tmp_path: Path, part: str) -> None:
    fill(tmp_path / "pets" / "train", cat=3, dog=4)
    fill(tmp_path / "pets" / part, cat=2, dog=1)
    if part != "test":  # the last choice
        fill(tmp_path / "pets" / "test", cat=1, dog=1)
    sets = opened(tmp_path / "pets")
    assert [len(sets.train), len(sets.validation)] == [7, 3]
    assert sets.validation.labels.tolist() == [0, 0, 1]


def test_classes_are_equal_in_any_form_of_unicode(tmp_path: Path) -> None:
    linux, macos = "\u00e9", "e\u0301"  # as Linux has it, and as macOS may
    fill(tmp_path / "train", **{macos: 3, "f": 3})
    fill(tmp_path / "val", **{linux: 2, "f": 1})
    sets = opened(tmp_path)
    assert sets.classes == ("f", linux)  # in the order of their composed names
    assert sets.train.name(3) == f"train/{macos}/000.png"
    assert sets.validation.labels.tolist() == [0, 1, 1]
    table = tmp_path / "a.csv"
    rows = [f"train/{macos}/000.png,{macos},train", f"val/{linux}/000.png,{linux},train"]
    table.write_text("\n".join(["image,class,part", *rows]), encoding="utf-8")
    assert open_dataset(str(table)).classes == (linux,)
    fill(tmp_path / "train", **{linux: 1})
    with pytest.raises(ValueError, match="has folders of equal names but for the form of Unicode"):
        opened(tmp_path)


def test_a_class_to_validate_alone_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, cat=3, dog=1)
    table = tmp_path / "some.csv"
    lines = ["image,class,part", "cat/000.png,cat,train", "cat/001.png,cat,train"]
    table.write_text("\n".join([*lines, "dog/000.png,dog,validation"]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"class 'dog' has no image for training, but some for"):
        opened(table)


def test_classes_without_an_image_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, cat=3, dog=1, emu=1, fox=3)
    table = tmp_path / "some.csv"
    lines = ["image,class,part"]
    for name in ("cat", "fox"):
        lines += [f"{name}/00{place}.png,{name},train" for place in range(2)]
        lines.append(f"{name}/002.png,{name},validation")
    table.write_text("\n".join(lines), encoding="utf-8")
    opened(table)
    assert caplog.messages == []
    lines += [f"{name}/000.png,{name},test" for name in ("emu", "dog")]
    table.write_text("\n".join(lines), encoding="utf-8")
    assert opened(table).classes == ("cat", "dog", "emu", "fox")
    (line,) = caplog.messages
    assert line.startswith("no image has the class 'dog', 'emu': ")
    assert line.endswith("some.csv, 4 images, 4 classes, part train")


@pytest.mark.parametrize("within", ["", "train"])
def test_a_folder_to_validate_with(tmp_path: Path, within: str) -> None:
    fill(tmp_path / "pets" / within, cat=3, dog=4)
    other = tmp_path / "later"
    fill(other / within, cat=1, dog=1)
    if within:  # of a layout of parts, the one to validate on
        fill(other / "val", cat=1, dog=1)
    sets = opened(tmp_path / "pets", validation=str(other))
    assert sets.validation.source.startswith(f"folder {'val' if within else 'later'}, ")
    assert [len(sets.train), len(sets.validation)] == [7, 2]


def test_fractals() -> None:
    sets = opened("fractal:3", train_images=7, validation_images=4)
    assert sets.train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert sets.validation.labels.tolist() == [0, 1, 2, 0]
    assert len(sets.classes) == 3
    train = [np.asarray(sets.train.picture(i)) for i in range(7)]
    for index in range(4):
        picture = np.asarray(sets.validation.picture(index))
        assert not any(np.array_equal(picture, other) for other in train)
    other = opened("fractal:3", train_images=7, validation_images=4, seed=1)
    assert other.provenance["digest"] != sets.provenance["digest"]


def bad_folders(root: Path) -> dict[str, Path]:
    fill(root / "parts" / "train", cat=3, dog=4)
    fill(root / "parts" / "val", cat=2, owl=1)
    fill(root / "more" / "train", cat=3)
    fill(root / "more" / "val", cat=2, dog=1)
    fill(root / "hollow" / "train", cat=3, dog=0)
    fill(root / "hollow" / "val", cat=2, dog=1)
    fill(root / "lonely", cat=3, dog=1)
    fill(root / "tests" / "val", cat=3, dog=3)
    fill(root / "flat", only=3)
    fill(root / "good", cat=3, dog=3)
    return {path.name: path for path in root.iterdir()}


@pytest.mark.parametrize(
    ("folder", "given", "message"),
    [
        ("parts", {}, "class 'owl' of folder .*val, 3 images.* is missing in folder .*train, 7 "),
        ("more", {}, "training needs two or more classes, there are 1: folder train"),
        ("hollow", {}, "no images in '.*hollow/train/dog'; use .jpg"),
        ("lonely", {}, "class 'dog' has one image, which cannot be divided"),
        ("tests", {}, "tests' has no images to train on, but only parts test"),
        ("flat", {}, "training needs two or more classes"),
        ("good", {"validation": "parts/val"}, "class 'owl' of .* is missing in folder good"),
        ("flat/only", {"validation": "good"}, "training needs two or more classes"),
        ("good", {"classes": 10}, "training needs 10 classes, there are 2: folder good"),
        ("good", {"train_images": 5}, "5 images for training were requested, but there are 4"),
        ("good", {"validation_images": 3}, "3 images for validation were requested, but there"),
        ("good", {"train_images": 1}, "1 image for training, but 2 classes, each of"),
        ("good", {"train_images": 0}, "0 images for training were requested; use 1 or more"),
        ("good", {"held_out": 1.0}, "held_out is 1.0; use a share above 0 and below 1"),
        ("good", {"seed": -1}, "seed -1; use 0 or more"),
        ("good", {"validation": "good/cat/000.png"}, "is a file; give a folder of images"),
    ],
)
def test_wrong_folders(
    tmp_path: Path, folder: str, given: dict[str, object], message: str
) -> None:
    bad_folders(tmp_path)
    if "validation" in given:
        given = {**given, "validation": str(tmp_path / str(given["validation"]))}
    with pytest.raises(ValueError, match=message) as caught:
        opened(tmp_path / folder, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "classes"),
    [("fractal", None), ("gaussian", None), ("fractal:7", 7), ("digits", 10), ("pets", 3)],
)
def test_the_classes_of_a_training(spec: str, classes: int | None, tmp_path: Path) -> None:
    fill(tmp_path / "pets" / "train", cat=2, dog=2, ox=2)
    fill(tmp_path / "pets" / "val", cat=1, dog=1, ox=1)
    assert class_count(str(tmp_path / spec) if spec == "pets" else spec) == classes

"""What a folder of images is: parts, classes, or neither; for whatever reads folders."""

from collections.abc import Callable
from pathlib import Path

import pytest
from image_folders import write_image

from asvit.data import open_dataset, open_training_sets
from asvit.data.base import LabelledImages
from asvit.data.sources import open_whole
from asvit.data.training_sets import open_test_part

CATS = ("cat", "dog")


def lay_out(root: Path, *folders: str) -> Path:
    """Folders with four images each; ``NAME/*`` has two class folders of so many."""
    number = 0
    for folder in folders:
        names = [folder.replace("*", name) for name in CATS] if "*" in folder else [folder]
        for name in names:
            for place in range(4):
                number += 1
                write_image(root / name / f"{place}.png", (number % 256, number // 256, 7))
    return root


def to_train(root: Path) -> LabelledImages:
    return open_training_sets(str(root), image_size=8, seed=0, held_out=0.5).train


def to_test(root: Path) -> LabelledImages:
    return open_test_part(str(root))


def measured(root: Path) -> LabelledImages:
    return open_dataset(str(root))


def to_design(root: Path) -> LabelledImages:
    return open_whole(str(root))


READERS = (to_train, to_test, measured, to_design)

FLAT_PARTS = [
    *(("train", "test"), ("train1", "test1"), ("train", "test1"), ("train", "val")),
    *(("Train", "Test"), ("training_set", "test_set"), ("train", "valid", "test")),
    *(("train_images", "test_images"), ("TRAIN", "VAL"), ("trainset", "testset")),
    *(("trainA", "testA", "trainB", "testB"), ("Training", "PublicTest", "PrivateTest")),
    *(("seg_train", "seg_test", "seg_pred"), ("train", "test", "sample"), ("val", "test")),
    *(("seg_train/seg_train/*", "seg_test/seg_test/*", "x"), ("train_images/*", "val_images/*")),
    *(("train/*", "test1"), ("train/*", "test1", "more/*"), ("seg_train/*", "seg_test/*")),
    *(("training", "dev"), ("train-2017", "val-2017")),
]
SAME_INSIDE = [
    *(("raw/*", "augmented/*"), ("fold0/*", "fold1/*", "fold2/*"), ("2021/*", "2022/*")),
    ("camera1/*", "camera2/*", "camera2/owl"),
    ("cat/train", "cat/test", "dog/train", "dog/test"),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("folders", "message"),
    [
        *((folders, "look like parts of one dataset") for folders in FLAT_PARTS),
        *((folders, "which have the same folders inside") for folders in SAME_INSIDE),
    ],
)
def test_folders_that_are_no_classes_are_refused(
    tmp_path: Path,
    read: Callable[[Path], LabelledImages],
    folders: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(lay_out(tmp_path, *folders))
    assert "\n" not in str(caught.value)
    assert repr(folders[0].split("/")[0]) in str(caught.value)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("folders", "better"),
    [
        (("PetImages/*",), "PetImages"),
        (("a/b/*",), "a"),
        (("data/train", "data/bus"), "data"),
        (("set/train/*", "set/val/*"), "set"),
        (("set/val/*", "set/test/*"), "set"),
        (("train/images/*", "val/images/*"), "(train|val)/images"),
    ],
)
def test_a_folder_one_too_deep_is_named(
    tmp_path: Path,
    read: Callable[[Path], LabelledImages],
    folders: tuple[str, ...],
    better: str,
) -> None:
    with pytest.raises(ValueError, match=f"one folder with others inside; give '.*/{better}'"):
        read(lay_out(tmp_path, *folders))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("*",), CATS),
        (("train", "bus", "car"), ("bus", "car", "train")),
        (("train/steam", "train/diesel", "bus", "car"), ("bus", "car", "train")),
        (("train", "tram"), ("train", "tram")),
        (("train", "test_tube", "cat"), ("cat", "test_tube", "train")),
        (("trainers", "latest"), ("latest", "trainers")),
        (("trainers/2026", "latest/2026"), ("latest", "trainers")),
        (("valid", "invalid"), ("invalid", "valid")),
        (("tested", "untested"), ("tested", "untested")),
        (("masks", "gloves"), ("gloves", "masks")),
        (("images", "videos"), ("images", "videos")),
        (("contest", "protest", "strain"), ("contest", "protest", "strain")),
        (("bird/crow", "bird/owl", "pet/cat", "pet/dog"), ("bird", "pet")),
        (("a/1", "a/2", "a/3", "b/3", "b/4", "b/5"), ("a", "b")),
        (("0", "1", "2", "10"), ("0", "1", "10", "2")),
    ],
)
def test_class_folders_are_read_alike(
    tmp_path: Path,
    read: Callable[[Path], LabelledImages],
    folders: tuple[str, ...],
    classes: tuple[str, ...],
) -> None:
    images = read(lay_out(tmp_path, *folders))
    assert images.classes == classes
    assert images.path(0).is_file()
    assert tmp_path / images.name(0) == images.path(0)
    assert images.parts is None


@pytest.mark.parametrize(
    ("folders", "trained_on", "tested_on", "left_out"),
    [
        (("train/*", "val/*"), "train", "val", ""),
        (("train/*", "val/*", "test/*"), "train", "test", ""),
        (("train/*", "val/*", "test"), "train", "val", "test"),  # as ImageNet has it
        (("train/*", "val/*", "test/unknown"), "train", "val", "test"),
        (("Train/*", "Validation/*", "TEST"), "Train", "Validation", "TEST"),
        (("training/*", "testing/cat"), "training", "testing", ""),
        (("train/*", "val/images", "test/*"), "train", "test", "val"),
        (("train/*", "val/*", "extra"), "train", "val", ""),
    ],
)
def test_parts_are_read_alike(
    tmp_path: Path,
    folders: tuple[str, ...],
    trained_on: str,
    tested_on: str,
    left_out: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root = lay_out(tmp_path, *folders)
    assert to_train(root).path(0) == root / trained_on / "cat" / "0.png"
    assert to_test(root).path(0) == root / tested_on / "cat" / "0.png"
    pictures = to_design(root)
    assert pictures.classes == CATS
    assert pictures.name(0) == f"{trained_on}/cat/0.png"
    assert pictures.files[-1].is_relative_to(root / tested_on)
    assert pictures.parts[[0, -1]].tolist() == ["train", "test"]
    assert measured(root).path(0) == pictures.path(0)
    warned = [line for line in caplog.messages if "without folders of its classes" in line]
    assert [f"left out is {left_out!r}" in line for line in warned] == [True] * bool(left_out)


@pytest.mark.parametrize("folders", [("train/*",), ("Train/*", "test"), ("train/*", "val/val")])
def test_a_part_to_train_on_alone_is_divided(tmp_path: Path, folders: tuple[str, ...]) -> None:
    """As of Kaggle, whose part to test on has no classes."""
    root = lay_out(tmp_path, *folders)
    assert len(to_train(root)) == 4
    assert to_design(root).parts is None
    assert to_test(root).classes == CATS


@pytest.mark.parametrize("folders", [("test/*",), ("val/*", "test/*")])
def test_parts_without_one_to_train_on_are_tested(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    root = lay_out(tmp_path, *folders)
    assert to_test(root).classes == CATS
    for read in (to_train, to_design, measured):
        with pytest.raises(ValueError, match="has no images to train on, but only parts "):
            read(root)


def test_an_empty_class_folder_to_validate_or_test_on_is_as_a_missing_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = lay_out(tmp_path / "missing", "train/*", "val/dog")
    empty = lay_out(tmp_path / "empty", "train/*", "val/dog")
    (empty / "val" / "cat").mkdir()
    for root in (missing, empty):
        sets = open_training_sets(str(root), image_size=8, seed=0)
        assert (sets.classes, sets.validation.labels.tolist()) == (CATS, [1] * 4)
        assert "no image to validate on has the class 'cat': folder val, 4 images" in caplog.text
        assert to_test(root).classes == to_test(root / "val").classes == ("dog",)
        assert to_design(root).labels.tolist() == [0] * 4 + [1] * 8
        for place in (str(root / "val"), str(root)):
            other = open_training_sets(
                str(root / "train"), validation=place, image_size=8, seed=0
            ).validation
            assert other.labels.tolist() == [1] * 4
    (empty / "train" / "owl").mkdir()
    for read in (to_train, to_design):
        with pytest.raises(ValueError, match=r"no images in '.*train/owl'"):
            read(empty)

"""Images with objects, and with a class for each pixel, read from folders."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from asvit.transfer.datasets import CocoImages, SceneImages
from tests.asvit.transfer.tiny_scenes import make_ade, make_coco


def changed(file: Path, **parts: object) -> None:
    """Put parts of a file in COCO's format in place of what it has."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **parts}))


def test_objects_have_boxes_labels_and_masks_that_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_coco(tmp_path, "train", images=3, side=40)
    images = CocoImages(tmp_path, "train")
    assert capsys.readouterr().out == ""  # pycocotools prints
    assert images.classes == ("ellipse", "rectangle")
    assert (len(images), images.indices) == (3, [0, 1, 2])
    for image, target in (images[i] for i in range(3)):
        assert (image.shape, image.dtype) == ((3, 40, 40), torch.uint8)
        assert target["labels"].tolist() == [1, 2]  # 3 and 7 in the file
        for box, mask, area in zip(*(target[n] for n in ("boxes", "masks", "area")), strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == [float(edge) for edge in edges]
            assert int(mask.sum()) == area
            inside = image[:, mask.bool()]
            assert int(inside.float().std(dim=1).max()) == 0  # one colour, and all of it
            assert set(inside[:, 0].tolist()) in ({220, 60}, {60, 90, 230})


@pytest.mark.parametrize(
    ("outline", "fault"),
    [
        ({"size": [32, 64], "counts": [2048]}, "it is not of the image's 64 x 64 px"),
        ({"size": [64, 64], "counts": [0, 10]}, "it is not of the image's 64 x 64 px"),
        ({"size": [64, 64], "counts": "`0j0"}, "it is not of the image's 64 x 64 px"),
        ({"size": "x", "counts": [1]}, ""),
        ([["a", 1, 2, 3, 4, 5]], ""),
    ],
)
def test_a_damaged_mask_is_named(outline: object, fault: str, tmp_path: Path) -> None:
    file = make_coco(tmp_path, "train", images=1)
    objects = json.loads(file.read_text())["annotations"]
    objects[1]["segmentation"] = outline
    changed(file, annotations=objects)
    images = CocoImages(tmp_path, "train")
    with pytest.raises(
        ValueError, match=f"instances_train.json: the mask of annotation 3 cannot be read: {fault}"
    ):
        images[0]


def test_crowds_and_boxes_without_extent_are_left_out_of_training(tmp_path: Path) -> None:
    file = make_coco(tmp_path, "train", images=2)
    objects = json.loads(file.read_text())["annotations"]
    objects[0]["iscrowd"] = 1
    objects[1]["bbox"][2], objects[1]["segmentation"] = 0, []
    changed(file, annotations=objects)
    images = CocoImages(tmp_path, "train")
    assert images.indices == [1]
    image, target = images[0]
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, *image.shape[-2:])
    kept = CocoImages(tmp_path, "train", crowds=True)
    assert kept[0][1]["iscrowd"].tolist() == [1]
    assert kept.indices == [1]
    changed(file, annotations=objects[:2])
    for crowds in (False, True):
        with pytest.raises(ValueError, match="has no objects with an area, crowds aside"):
            CocoImages(tmp_path, "train", crowds=crowds)


def test_boxes_out_of_the_picture_are_left_out(tmp_path: Path) -> None:
    file = make_coco(tmp_path, "train", images=3, side=64)
    objects = json.loads(file.read_text())["annotations"]
    for place, corner in ((0, [64, 5]), (1, [5, -20]), (2, [-19, 63]), (3, [0, 65])):
        objects[place]["bbox"] = [*corner, 20, 20]
    changed(file, annotations=objects)
    images = CocoImages(tmp_path, "train", crowds=True)
    assert images.indices == [1, 2]
    assert images[0][1]["masks"].shape == (0, 64, 64)
    assert images[1][1]["boxes"].tolist() == [[-19, 63, 1, 83]]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        *((text, "not in COCO's format") for text in ("", "[]", "{")),
        ({"categories": [{"id": 3}, {"id": 7}]}, r"not in COCO's format \(KeyError: 'name'\)"),
        ({"annotations": [{"image_id": 1, "id": 2, "bbox": [4]}]}, "not in COCO's format"),
        ({"annotations": []}, "has no objects"),
    ],
)
def test_a_file_in_no_such_format(
    content: str | dict[str, object], fault: str, tmp_path: Path
) -> None:
    file = make_coco(tmp_path, "train", images=1)
    if isinstance(content, str):
        file.write_text(content)
    else:
        changed(file, **content)
    with pytest.raises(ValueError, match=fault) as refusal:
        CocoImages(tmp_path, "train")
    assert "\n" not in str(refusal.value)


def test_classes_of_pixels_from_0_and_255_for_none(tmp_path: Path) -> None:
    make_ade(tmp_path, "training", images=2)
    image, classes = SceneImages(tmp_path, "training", classes=3)[1]
    stored = np.asarray(Image.open(tmp_path / "annotations/training/000002.png")).astype(int)
    wanted = np.where(stored == 0, 255, stored - 1)
    assert classes.shape == (1, *image.shape[-2:])
    assert np.array_equal(classes[0].numpy(), wanted)
    assert set(np.unique(wanted)) == {0, 1, 2, 255}
    make_ade(tmp_path / "plain", "", images=1)  # without splits, and a picture of another kind
    picture = tmp_path / "plain" / "images" / "000001.png"
    Image.open(picture).save(picture.with_suffix(".jpg"))
    picture.unlink()
    assert len(SceneImages(tmp_path / "plain", "", classes=3)) == 1


def test_bad_scenes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="ADE20K's format"):
        SceneImages(tmp_path, "training", classes=3)
    make_ade(tmp_path, "empty", images=0)
    with pytest.raises(ValueError, match="no images in"):
        SceneImages(tmp_path, "empty", classes=3)
    make_ade(tmp_path, "training", images=4)
    few = SceneImages(tmp_path, "training", classes=2)
    with pytest.raises(ValueError, match="has class 3, not up to 2"):
        few[0]
    images = SceneImages(tmp_path, "training", classes=3)
    folder = tmp_path / "annotations" / "training"
    Image.new("L", (5, 5)).save(folder / "000001.png")
    Image.new("RGB", (64, 64)).save(folder / "000002.png")
    (folder / "000003.png").write_bytes(b"nothing")
    faults = ("do not have the same size", "no single number for each pixel", "cannot read")
    for place, fault in enumerate(faults):
        with pytest.raises(ValueError, match=fault):
            images[place]
    (folder / "000004.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"no annotation of .*000004"):
        SceneImages(tmp_path, "training", classes=3)


def test_digests_tell_annotations_apart(tmp_path: Path) -> None:
    file = make_coco(tmp_path, "train", images=1)
    before = CocoImages(tmp_path, "train").digest
    assert before == CocoImages(tmp_path, "train").digest
    changed(file, info={})
    assert CocoImages(tmp_path, "train").digest != before
    make_ade(tmp_path, "one", images=1)
    make_ade(tmp_path, "two", images=2)
    one, two = (SceneImages(tmp_path, part, classes=3).digest for part in ("one", "two"))
    assert one != two
    Image.fromarray(np.ones((64, 64), np.uint8)).save(tmp_path / "annotations/one/000001.png")
    assert SceneImages(tmp_path, "one", classes=3).digest != one

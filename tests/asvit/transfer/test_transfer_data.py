"""Images with objects, and with a class for each pixel, read from folders."""

import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from pycocotools.mask import encode
from torch import Tensor
from torchvision.transforms import v2

from asvit.training.images.order import BatchPlan
from asvit.transfer.datasets import AugmentedBatches, CocoImages, SceneImages, _runs
from tests.asvit.transfer.tiny_scenes import make_ade, make_coco

IMAGE = {"id": 1, "file_name": "000001.png", "height": 64, "width": 64}
OBJECT = {"id": 2, "image_id": 1, "category_id": 3, "bbox": [1, 2, 5, 5], "area": 25}
OBJECT |= {"segmentation": [[1, 2, 6, 2, 6, 7]]}


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
    assert (len(images), images.with_objects) == (3, [0, 1, 2])
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


def test_polygons(tmp_path: Path) -> None:
    file = make_coco(tmp_path, "train", images=1, side=32)
    square = {"bbox": [4, 6, 10, 8], "area": 80, "image_id": 1, "category_id": 3, "id": 1}
    outline = [[4, 6, 14, 6, 14, 14, 4, 14]]
    changed(file, annotations=[{**square, "segmentation": outline}])
    target = CocoImages(tmp_path, "train")[0][1]
    wanted = torch.zeros(32, 32, dtype=torch.uint8)
    wanted[6:14, 4:14] = 1
    assert torch.equal(torch.as_tensor(target["masks"][0]), wanted)
    assert target["boxes"].tolist() == [[4, 6, 14, 14]]
    assert target["iscrowd"].tolist() == [0]


@pytest.mark.parametrize(
    "outline", [[], None, [[]], [[4, 6, 14, 6]], [4, 6, 14, 6, 14, 14], {"size": [32, 32]}]
)
def test_objects_without_a_mask_are_refused(outline: object, tmp_path: Path) -> None:
    file = make_coco(tmp_path, "train", images=1)
    objects = json.loads(file.read_text())["annotations"]
    objects[1]["segmentation"] = outline
    changed(file, annotations=objects)
    with pytest.raises(ValueError, match=r"instances_train.json: annotation 3 .*6 numbers") as no:
        CocoImages(tmp_path, "train")
    assert "\n" not in str(no.value)


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ([4, 6, 10, 8, 1], "the box of annotation 3 has 5 numbers; it must have 4: left, top, wi"),
        ([4], "the box of annotation 3 has 1 number; it must have 4"),
        (["4", "6", "10", "8"], r"is not in COCO's format \(TypeError: '4' is no number\)"),
        (4, r"is not in COCO's format \(TypeError: "),
    ],
)
def test_a_box_has_four_numbers(box: object, fault: str, tmp_path: Path) -> None:
    file = make_coco(tmp_path, "train", images=1)
    objects = json.loads(file.read_text())["annotations"]
    objects[1]["bbox"] = box
    twin = {**objects[0], "id": objects[1]["id"]}  # as in files that number them in each image
    for each in (objects, [*objects, twin]):
        changed(file, annotations=each)
        with pytest.raises(ValueError, match=rf"instances_train.json:? {fault}"):
            CocoImages(tmp_path, "train")


@pytest.mark.parametrize(
    ("outline", "fault"),
    [
        ({"size": [32, 64], "counts": [2048]}, "is of 64 x 32 px, not of the image's 64 x 64$"),
        ({"size": [64, 64], "counts": "abc!!"}, "cannot be read: "),
        ({"size": [64, 64], "counts": [0, 10]}, "cannot be read: its runs have 10 of 4096 pixels"),
        ({"size": [64, 64], "counts": [0, -10, 9]}, "cannot be read: "),
        ({"size": [64, 64], "counts": "`0j0"}, "cannot be read: its runs have"),
        ({"size": "x", "counts": [1]}, "cannot be read: "),
        ([["a", 1, 2, 3, 4, 5]], "cannot be read: "),
    ],
)
def test_a_damaged_mask_is_named(outline: object, fault: str, tmp_path: Path) -> None:
    file = make_coco(tmp_path, "train", images=1)
    objects = json.loads(file.read_text())["annotations"]
    objects[1]["segmentation"] = outline
    changed(file, annotations=objects)
    images = CocoImages(tmp_path, "train")
    with pytest.raises(
        ValueError, match=f"instances_train.json: the mask of annotation 3 {fault}"
    ):
        images[0]


@settings(max_examples=60)
@given(arrays(np.uint8, st.tuples(*[st.integers(1, 90)] * 2), elements=st.integers(0, 1)))
def test_runs_of_a_mask_are_those_that_pycocotools_writes(mask: NDArray[np.uint8]) -> None:
    text = encode(np.asfortranarray(mask))["counts"].decode()
    pixels = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(pixels, prepend=0, append=1 - pixels[-1]))
    assert [*_runs(text)] == np.diff(ends, prepend=0).tolist()


def test_sizes_may_be_stored_as_fractions(tmp_path: Path) -> None:
    file = make_coco(tmp_path, "train", images=1, side=40)
    content = json.loads(file.read_text())
    outlined = {**content["annotations"][0], "segmentation": OBJECT["segmentation"], "id": 99}
    objects = [*content["annotations"], outlined]
    faults = {side: f"{side} is no whole number of pixels" for side in (40.5, math.inf)}
    for side, problem in {40.0: "", **faults}.items():
        images = [{**image, "height": side, "width": side} for image in content["images"]]
        changed(file, images=images, annotations=objects)
        with pytest.raises(ValueError, match=problem) if problem else nullcontext():
            assert CocoImages(tmp_path, "train")[0][1]["masks"].shape == (3, 40, 40)


def test_crowds_and_boxes_without_extent_are_left_out_of_training(tmp_path: Path) -> None:
    file = make_coco(tmp_path, "train", images=2)
    objects = json.loads(file.read_text())["annotations"]
    objects[0]["iscrowd"] = 1
    objects[1]["bbox"][2], objects[1]["segmentation"] = 0, []
    changed(file, annotations=objects)
    images = CocoImages(tmp_path, "train")
    assert images.with_objects == [1]
    image, target = images[0]
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, *image.shape[-2:])
    kept = CocoImages(tmp_path, "train", crowds=True)
    assert kept[0][1]["iscrowd"].tolist() == [1]
    assert kept.with_objects == [1]
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
    assert images.with_objects == [1, 2]
    assert images[0][1]["masks"].shape == (0, 64, 64)
    assert images[1][1]["boxes"].tolist() == [[-19, 63, 1, 83]]


def test_a_folder_without_the_split(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"instances_train.json.*COCO's format"):
        CocoImages(tmp_path, "train")
    file = make_coco(tmp_path, "train", images=1)
    file.rename(file.with_name("instances_other.json"))
    with pytest.raises(FileNotFoundError, match=r"no '.*other'; give a folder in COCO's format"):
        CocoImages(tmp_path, "other")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        *((text, "not in COCO's format") for text in ("", "[]", "{", '{"images": [{"id": 1}]}')),
        ({"categories": [{"id": 3, "name": "ellipse"}]}, r"not in COCO's format \(KeyError: 7\)"),
        ({"categories": [{"id": 3}, {"id": 7}]}, r"not in COCO's format \(KeyError: 'name'\)"),
        *(
            (
                {"images": [IMAGE, {**IMAGE, **change}]},
                rf"not in COCO's format \(TypeError: {fault}",
            )
            for change, fault in (
                ({"height": "64"}, "'64' is no number"),
                ({"file_name": 7}, "7 is no text"),
                ({"id": "1"}, "'<' not supported"),
            )
        ),
        ({"annotations": [{**OBJECT, "iscrowd": None}]}, r"not in COCO's format \(TypeError: "),
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


def test_a_picture_that_is_missing_truncated_or_of_another_size(tmp_path: Path) -> None:
    make_coco(tmp_path, "train", images=3)
    images = CocoImages(tmp_path, "train")
    first, second, third = (tmp_path / "train" / f"{n:06}.png" for n in (1, 2, 3))
    first.unlink()
    second.write_bytes(second.read_bytes()[:300])
    Image.new("RGB", (20, 30)).save(third)
    for place, what in enumerate(("cannot read .*000001", "cannot read .*000002", "000003.* px")):
        with pytest.raises(ValueError, match=what):
            images[place]


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


def test_an_annotation_may_have_its_name_in_another_form_of_unicode(tmp_path: Path) -> None:
    make_ade(tmp_path, "training", images=1)
    for folder, form in (("images", "NFC"), ("annotations", "NFD")):
        file = tmp_path / folder / "training" / "000001.png"
        file.rename(file.with_name(normalize(form, "é.png")))
    assert len(SceneImages(tmp_path, "training", classes=3)) == 1


def test_an_annotation_of_one_class_may_have_a_bit_a_pixel(tmp_path: Path) -> None:
    make_ade(tmp_path, "training", images=1)
    file = tmp_path / "annotations" / "training" / "000001.png"
    some = np.asarray(Image.open(file)) > 0
    bits = Image.fromarray(some)
    assert bits.mode == "1"
    bits.save(file)
    classes = SceneImages(tmp_path, "training", classes=2)[0][1]
    assert np.array_equal(classes[0].numpy(), np.where(some, 0, 255))


@pytest.mark.parametrize("name", ["é.png", "a/é.png", "é/a.png"])
@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_a_picture_of_coco_may_have_its_name_in_another_form(
    name: str, forms: tuple[Literal["NFC", "NFD"], ...], tmp_path: Path
) -> None:
    file, images = make_coco(tmp_path, "train", images=1), tmp_path / "train"
    listed, stored = (normalize(form, name) for form in forms)
    (images / stored).parent.mkdir(exist_ok=True)
    (images / "000001.png").rename(images / stored)
    (entry,) = json.loads(file.read_text())["images"]
    changed(file, images=[{**entry, "file_name": listed}])
    assert CocoImages(tmp_path, "train").path(0) == images / stored


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


def batches(images: SceneImages, seed: int = 0) -> AugmentedBatches:
    return AugmentedBatches(images, range(len(images)), v2.RandomCrop(20), seed)


def test_variation_follows_from_seed_epoch_and_image_alone(tmp_path: Path) -> None:
    make_ade(tmp_path, "training", images=3)
    images = SceneImages(tmp_path, "training", classes=3)

    def seen(places: list[int], *, seed: int = 0, epoch: int = 0) -> list[Tensor]:
        torch.rand(1)  # what others draw does not count
        plan = BatchPlan(epoch, 0, np.array(places), np.zeros(len(places), int))
        made: list[Tensor] = batches(images, seed)[plan].images
        return made

    first = seen([0, 1, 2])
    assert all(torch.equal(a, b) for a, b in zip(first, seen([2, 1, 0])[::-1], strict=True))
    for other in (seen([0, 1, 2], seed=1), seen([0, 1, 2], epoch=1)):
        assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    state = torch.get_rng_state()
    plan = BatchPlan(0, 0, np.array([1]), np.array([0]))
    (image,), (classes,), *_ = batches(images)[plan]
    assert torch.equal(torch.get_rng_state(), state)
    assert image.shape[-2:] == classes.shape[-2:] == (20, 20)


def test_an_image_that_cannot_be_read_is_an_error_that_a_worker_can_hand_on(
    tmp_path: Path,
) -> None:
    make_ade(tmp_path, "training", images=2)
    images = SceneImages(tmp_path, "training", classes=3)
    (tmp_path / "images/training/000002.png").write_bytes(b"nothing")
    failed = batches(images)[BatchPlan(0, 0, np.arange(2), np.zeros(2, int))]
    assert "cannot read image" in str(failed.failure)


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

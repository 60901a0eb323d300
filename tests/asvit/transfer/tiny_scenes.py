"""Pictures of ellipses and rectangles on noise, in the formats of COCO and ADE20K."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

ARCH = "8,4,2|4,4,2|2,1,2|2,1,2|16,16"

#: Settings that detection and segmentation have in common.
SHARED: dict[str, Any] = {
    "architecture": ARCH, "data": "data", "image_size": 64, "epochs": 1, "batch_size": 4,
    "learning_rate": 1e-3, "warmup": 0, "drop_path": 0.0, "scale": (1.0, 1.0),
}  # fmt: skip
DETECTION: dict[str, Any] = {
    **SHARED, "train": "train", "validation": "val", "anchor": 4.0, "fpn": 16, "regions": 16,
}  # fmt: skip
SEGMENTATION: dict[str, Any] = {**SHARED, "classes": 3, "head": 16}

COLOURS = ((220, 60, 60), (60, 90, 230))  # of ellipses and rectangles
NAMES = ("ellipse", "rectangle")


def picture(rng: np.random.Generator, side: int) -> tuple[Image.Image, list[Image.Image]]:
    """A picture, and one mask for each of its two objects: an ellipse, then a rectangle."""
    noise = rng.integers(90, 150, (side, side, 3), dtype=np.uint8)
    image, masks = Image.fromarray(noise), []
    for place, colour in enumerate(COLOURS):
        wide, high = rng.integers(side // 4, side // 2 - 2, 2)
        left = int(rng.integers(0, side // 2 - wide)) + place * side // 2
        top = int(rng.integers(0, side - high))
        box = (left, top, left + int(wide) - 1, top + int(high) - 1)
        mask = Image.new("L", (side, side))
        for target, ink in ((image, colour), (mask, 1)):
            draw = ImageDraw.Draw(target)
            (draw.rectangle if place else draw.ellipse)(box, fill=ink)
        masks.append(mask)
    return image, masks


def runs(mask: np.ndarray) -> list[int]:
    """Lengths of runs of zeros and ones, column by column, as COCO counts them."""
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *lengths] if flat[0] else lengths


def make_coco(folder: Path, split: str, *, images: int = 8, side: int = 64, seed: int = 0) -> Path:
    """A split in COCO's format; category numbers have gaps, as COCO's have."""
    rng = np.random.default_rng(seed)
    (folder / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    content: dict[str, list[dict]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 3, "name": NAMES[0]}, {"id": 7, "name": NAMES[1]}],
    }
    for number in range(1, images + 1):
        image, masks = picture(rng, side)
        name = f"{number:06}.png"
        image.save(folder / split / name)
        content["images"].append({"id": number, "file_name": name, "height": side, "width": side})
        for place, mask in enumerate(masks):
            pixels = np.asarray(mask)
            rows, columns = np.nonzero(pixels)
            left, top = int(columns.min()), int(rows.min())
            content["annotations"].append(
                {
                    "id": 2 * number + place,
                    "image_id": number,
                    "category_id": (3, 7)[place],
                    "bbox": [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top],
                    "segmentation": {"size": [side, side], "counts": runs(pixels)},
                    "area": int(pixels.sum()),
                    "iscrowd": 0,
                }
            )
    file = folder / "annotations" / f"instances_{split}.json"
    file.write_text(json.dumps(content))
    return file


def make_ade(folder: Path, split: str, *, images: int = 8, side: int = 64, seed: int = 0) -> None:
    """A split in ADE20K's format: class 1 around the objects, 2 and 3 in them, a frame without."""
    rng = np.random.default_rng(seed)
    for part in ("images", "annotations"):
        (folder / part / split).mkdir(parents=True)
    for number in range(1, images + 1):
        image, masks = picture(rng, side)
        classes = np.ones((side, side), np.uint8)
        for place, mask in enumerate(masks):
            classes[np.asarray(mask) == 1] = 2 + place
        classes[:2] = 0
        image.save(folder / "images" / split / f"{number:06}.png")
        Image.fromarray(classes).save(folder / "annotations" / split / f"{number:06}.png")


def make_data(train: int, validation: int) -> None:
    """Pictures for both tasks; those to validate a detector with are the first of its others."""
    for split, images in (("train", train), ("val", validation)):
        make_coco(Path("data"), split, images=images)
    for seed, (split, images) in enumerate((("training", train), ("validation", validation))):
        make_ade(Path("data"), split, images=images, seed=seed)


def prepared(task: Any, size: int = 1) -> list[tuple[list[Any], list[Any]]]:
    """The batches of validation images that a session would give the task."""
    images = [task.validation[place] for place in range(len(task.validation))]
    parts = [images[begin : begin + size] for begin in range(0, len(images), size)]
    return [([image for image, _ in part], [target for _, target in part]) for part in parts]

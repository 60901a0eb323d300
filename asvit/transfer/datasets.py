"""Datasets for detection (COCO's format) and semantic segmentation (ADE20K's)."""

from __future__ import annotations

import contextlib
import hashlib
import io
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as tvf

from asvit.data.decoding import check_as, naming, open_image, read_image
from asvit.data.folders import list_folder
from asvit.data.kinds import RGB, ImageKind
from proxies.messages import first_line

Sample = tuple[Tensor, Any]

_READ = ImageKind(reading=RGB)  # how images are read: all as RGB
_MALFORMED = (AssertionError, AttributeError, LookupError, TypeError, ValueError)


class AnnotatedImages(Dataset[Sample]):
    """Images, ``[3, H, W]`` uint8, each with an annotation.

    Attributes:
        indices: Those to train on.
        digest: SHA-256 of what identifies the images and annotations.
    """

    indices: Sequence[int]
    digest: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def files(self, index: int) -> tuple[Path, ...]:
        """The file of an image, and that of its annotation if it has one of its own."""

    def to_train(self, place: int) -> Sample:
        """The image at a place among those to train on."""
        sample: Sample = self[self.indices[place]]
        return sample

    def name(self, index: int) -> str:
        """The path of an image."""
        return str(self.files(index)[0])

    def check(self, index: int) -> None:
        """Read the headers of an image's files; a ValueError names one that cannot be read."""
        for path in self.files(index):
            check_as(path, _READ)


class CocoImages(AnnotatedImages):
    """One split of a folder in COCO's format: ``annotations/instances_SPLIT.json`` and ``SPLIT``.

    The annotation is a dictionary of the n objects: ``boxes`` ``[n, 4]`` (left, top, right,
    bottom, pixels), ``labels`` ``[n]`` int64 from 1 in the order of ``classes``, ``masks``
    ``[n, H, W]``, and for evaluation ``iscrowd`` and ``area``. Crowds are left out unless
    ``crowds``. Images to train on have objects other than crowds.
    """

    def __init__(self, folder: Path, split: str, *, crowds: bool = False) -> None:
        self._file = file = folder / "annotations" / f"instances_{split}.json"
        self._images = folder / split
        for path in (file, self._images):
            if not path.exists():
                raise FileNotFoundError(f"no {str(path)!r}; give a folder in COCO's format")
        self.digest = hashlib.sha256(file.read_bytes()).hexdigest()
        try:
            self._coco = _read_coco(file)
            categories = sorted(self._coco.cats.values(), key=lambda category: category["id"])
            self.classes = tuple(str(category["name"]) for category in categories)
            self._labels = {category["id"]: i for i, category in enumerate(categories, 1)}
            self._entries = [self._coco.imgs[number] for number in sorted(self._coco.imgs)]
            self._objects = [self._objects_of(entry, crowds) for entry in self._entries]
        except _MALFORMED as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise ValueError(f"{file} is not in COCO's format ({reason})") from error
        single = [[o for o in objects if not o.get("iscrowd", 0)] for objects in self._objects]
        self.indices = [index for index, objects in enumerate(single) if objects]
        if not self.indices:
            raise ValueError(
                f"{file} has no objects with an area, crowds aside; give annotated images"
            )

    def __len__(self) -> int:
        return len(self._entries)

    def files(self, index: int) -> tuple[Path, ...]:
        """The file of an image."""
        return (self._images / str(self._entries[index]["file_name"]),)

    def __getitem__(self, index: int) -> Sample:
        entry, objects = self._entries[index], self._objects[index]
        size = int(entry["height"]), int(entry["width"])
        image = tvf.to_image(read_image(self.files(index)[0]))
        if image.shape[-2:] != size:
            what = f"{self.name(index)} is not of {size[1]} x {size[0]} px"
            raise ValueError(f"{what}, as its annotations say")
        corners = np.array([o["bbox"] for o in objects], np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        masks = [self._mask(o, size) for o in objects]
        return image, {
            "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=size),
            "labels": torch.tensor([self._labels[o["category_id"]] for o in objects]).long(),
            "masks": tv_tensors.Mask(np.array(masks, np.uint8).reshape(-1, *size)),
            "iscrowd": torch.tensor([o.get("iscrowd", 0) for o in objects]).long(),
            "area": torch.tensor([float(o["area"]) for o in objects]),
        }

    def _objects_of(self, entry: dict[str, Any], crowds: bool) -> list[dict[str, Any]]:
        """The annotations of an image with boxes of which a part is in it."""
        ends = entry["width"], entry["height"]
        return [
            o
            for o in self._coco.imgToAnns.get(entry["id"], [])
            if (crowds or not o.get("iscrowd", 0)) and _is_visible(o["bbox"], ends)
        ]

    def _mask(self, of: dict[str, Any], size: tuple[int, int]) -> NDArray[np.uint8]:
        """The mask of an object; pycocotools leaves what no run covers as it was in memory."""
        try:
            mask: NDArray[np.uint8] = self._coco.annToMask(of)
            if mask.shape != size or not _is_whole(of["segmentation"], mask):
                raise ValueError(f"it is not of the image's {size[1]} x {size[0]} px")
        except _MALFORMED as error:
            what = f"{self._file}: the mask of annotation {of['id']}"
            raise ValueError(f"{what} cannot be read: {first_line(error)}") from error
        return mask


def _is_whole(outline: Any, mask: NDArray[np.uint8]) -> bool:
    """Whether runs, if the outline has some, are as long as the mask."""
    from pycocotools.mask import encode

    if not isinstance(outline, dict):
        return True
    if isinstance(counts := outline["counts"], list):
        return sum(counts) == mask.size
    text: bytes = encode(np.asfortranarray(mask))["counts"]
    return text == (counts.encode() if isinstance(counts, str) else counts)


def _read_coco(file: Path) -> Any:
    """Read a file with pycocotools, without its output."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(file)


def _is_visible(box: Sequence[float], ends: tuple[int, int]) -> bool:
    """Whether a part of a box (left, top, its width and height) is in an image."""
    left, top, across, down = box
    sides = (left, across, ends[0]), (top, down, ends[1])
    return all(min(start + length, end) > max(start, 0) for start, length, end in sides)


class SceneImages(AnnotatedImages):
    """One split of a folder in ADE20K's format: images with a class for every pixel.

    ``images`` and ``annotations``, or a subfolder of each per split, hold files of the same names
    except for suffixes. Annotations number the classes from 1, with 0 for no class; here they are
    ``[1, H, W]`` uint8 and number the classes from 0, with 255 for no class. The ``digest`` is
    that of the names and sizes of all files.
    """

    def __init__(self, folder: Path, split: str, *, classes: int) -> None:
        images, annotations = folder / "images" / split, folder / "annotations" / split
        for path in (images, annotations):
            if not path.is_dir():
                raise FileNotFoundError(f"no folder {str(path)!r}; give one in ADE20K's format")
        by_stem = {Path(name).stem: annotations / name for name in list_folder(annotations).images}
        self._files: list[tuple[Path, Path]] = []
        for name in list_folder(images).images:
            if (annotation := by_stem.get(Path(name).stem)) is None:
                raise FileNotFoundError(f"no annotation of {str(images / name)!r}")
            self._files.append((images / name, annotation))
        if not self._files:
            raise ValueError(f"no images in {str(images)!r}")
        self._classes = classes
        self.indices = range(len(self._files))
        lines = "\n".join(
            f"{path.relative_to(folder)} {path.stat().st_size}"
            for pair in self._files
            for path in pair
        )
        self.digest = hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()

    def __len__(self) -> int:
        return len(self._files)

    def files(self, index: int) -> tuple[Path, ...]:
        """The files of an image and its annotation."""
        return self._files[index]

    def __getitem__(self, index: int) -> Sample:
        path, annotation = self._files[index]
        image = tvf.to_image(read_image(path))
        with (
            naming(f"annotation {str(annotation)!r}"),
            annotation.open("rb") as file,
            open_image(file) as picture,
        ):
            classes: NDArray[Any] = np.asarray(picture)
        if classes.ndim != 2 or classes.dtype.kind not in "biu" or classes.min() < 0:
            raise ValueError(
                f"{annotation} is no annotation: it has no single number for each pixel"
            )
        if classes.shape != image.shape[-2:]:
            raise ValueError(f"{annotation} and {path} do not have the same size")
        if (highest := int(classes.max())) > self._classes:
            raise ValueError(
                f"{annotation} has class {highest}, not up to {self._classes}; give --classes"
            )
        # uint8 wraps around: 0, no class, becomes 255.
        return image, tv_tensors.Mask((classes.astype(np.uint8) - 1)[None])

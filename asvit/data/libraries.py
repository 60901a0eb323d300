"""Images of other libraries: scikit-learn's digits and the datasets of torchvision.

Nothing here uses the network unless ``download`` is true.
"""

import inspect
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asvit.core.files import expanded
from asvit.data.base import UNREADABLE, LabelledImages
from asvit.data.files import to_rgb
from asvit.data.store import cache_folder
from proxies.messages import first_line, nearest, shown

#: Datasets whose files torchvision unpickles without verifying them.
_UNCHECKED = ("LSUN", "LSUNClass")


@dataclass(eq=False, repr=False)
class LibraryDataset(LabelledImages):
    """A dataset of another library; each of its items begins with a PIL image."""

    items: Any

    def picture(self, index: int) -> Image.Image:
        """Read image ``index``."""
        try:
            image = self.items[index][0]
            if not isinstance(image, Image.Image):
                raise ValueError(f"it is a {type(image).__name__}, not an image")
            return to_rgb(image)
        except UNREADABLE as error:
            raise ValueError(
                f"cannot read image {index} of {self.source}: {first_line(error)}"
            ) from error


def open_digits() -> LabelledImages:
    """Open scikit-learn's 1,797 hand-written digits of 8 × 8 pixels, part of that library."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        message = "images 'digits' need scikit-learn: pip install scikit-learn"
        raise ImportError(message) from error
    digits = load_digits()
    grey = (digits.images * (255 / 16)).astype(np.uint8)
    source = f"scikit-learn digits, {len(grey)} images"
    items = [(Image.fromarray(one),) for one in grey]
    return LibraryDataset(source, tuple("0123456789"), digits.target.astype(np.int64), items)


def open_torchvision(name: str, *, download: bool = False) -> LabelledImages:
    """Open a classification dataset of torchvision, in its default (training) part.

    Its files are in ``$ASVIT_DATA``, else in the folder ``datasets`` of our cache.

    Raises:
        ValueError: If torchvision has no such dataset, or its items are not an image and a label.
        FileNotFoundError: If its files are missing or damaged and ``download`` is false.
        OSError: If the download fails.
    """
    return _torchvision_part(name, _torchvision_class(name), {}, download)


def open_torchvision_test(name: str, *, download: bool = False) -> LabelledImages | None:
    """Open the validation part of a torchvision dataset, else its test part; None without parts.

    A dataset with a training part ``trainval`` gives its test part.
    """
    kind = _torchvision_class(name)
    accepted = inspect.signature(kind).parameters
    if "train" in accepted:
        return _torchvision_part(name, kind, {"train": False}, download)
    if "split" not in accepted:
        return None
    both = accepted["split"].default == "trainval"
    for part in ("test",) if both else ("val", "valid", "test"):
        try:
            return _torchvision_part(name, kind, {"split": part}, download)
        except OSError as error:
            # torchvision's message for a part that a dataset does not have.
            if not str(error.__cause__).startswith(f"Unknown value '{part}' for argument split"):
                raise
    return None


def _torchvision_part(
    name: str, kind: Any, part: dict[str, Any], download: bool
) -> LabelledImages:
    """Open the part of a torchvision dataset that the arguments ``part`` select."""
    accepted = inspect.signature(kind).parameters
    missing = [
        other.name
        for other in accepted.values()
        if other.default is other.empty and other.kind is not other.VAR_KEYWORD
    ]
    if extra := [other for other in missing if other != "root"]:
        raise ValueError(
            f"torchvision:{name} needs {' and '.join(extra)}; save it as a folder of images"
        )
    given_root = os.environ.get("ASVIT_DATA")
    root = expanded(given_root) if given_root else cache_folder() / "datasets"
    given = {"root": root, "download": download, **part}
    try:
        items = kind(**{key: value for key, value in given.items() if key in accepted})
    except (*UNREADABLE, RuntimeError, AssertionError) as error:
        reason = first_line(error).partition(". ")[0]  # the rest is about torchvision's arguments
        if download and "download" in accepted:
            raise OSError(f"cannot download torchvision:{name}: {reason}") from error
        ask = f", or ask for 'torchvision:{name}:download'" if "download" in accepted else ""
        raise FileNotFoundError(
            f"cannot open torchvision:{name} in {str(root)!r}: {reason};"
            f" set ASVIT_DATA to its folder{ask}"
        ) from error
    words = "".join(" test" if key == "train" else f" {value}" for key, value in part.items())
    source = f"torchvision {name}{words}, {len(items)} images"
    labels = _targets(items, source)
    # ImageNet has several names per class; without names they are numbered.
    names = getattr(items, "classes", None) or map(str, range(int(labels.max(initial=-1)) + 1))
    classes = tuple(name if isinstance(name, str) else ", ".join(name) for name in names)
    return LibraryDataset(source, classes, labels, items)


def _torchvision_class(name: str) -> Any:
    from torchvision import datasets

    known = {
        other
        for other in datasets.__all__
        if isinstance(kind := getattr(datasets, other), type)
        and issubclass(kind, datasets.VisionDataset)
    } - {"VisionDataset", "DatasetFolder", "ImageFolder"}
    if name not in known:
        by_lower = {other.lower(): other for other in sorted(known)}
        near = nearest(name.lower(), by_lower)
        hint = "" if near is None else f"; did you mean {by_lower[near]!r}?"
        raise ValueError(f"torchvision has no dataset {shown(name)}{hint}")
    if name in _UNCHECKED:
        raise ValueError(
            f"torchvision reads a pickle beside the images of {name}, which could hold any"
            " program; save it as a folder of images"
        )
    return getattr(datasets, name)


def _targets(items: Any, source: str) -> NDArray[np.int64]:
    """Labels of a torchvision dataset, from its attributes or by reading every item."""
    for attribute in ("targets", "labels", "_labels", "y"):
        if len(found := getattr(items, attribute, ())) == len(items):
            break
    else:
        pairs = getattr(items, "_samples", None) or (items[i] for i in range(len(items)))
        found = [label for _, label in pairs]
    labels = np.asarray(found)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{source}: it does not have one class per image")
    return labels.astype(np.int64)

"""Images of other libraries: scikit-learn's digits, torchvision's sets, and the Hugging Face hub.

Nothing here uses the network unless ``download`` is true.
"""

import contextlib
import inspect
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asvit.core.files import expanded
from asvit.core.versions import missing
from asvit.data.base import UNREADABLE, LabelledImages, naming
from asvit.data.decoding import as_kind, kind_in, read_open
from asvit.data.kinds import GREY, PICTURES, RGB, ImageKind, Picture
from asvit.data.store import cache_folder
from asvit.data.texts import check_apart, composed
from proxies.messages import first_line, nearest
from proxies.text import listed, one_line, shown

_log = logging.getLogger(__name__)

#: Datasets whose files torchvision unpickles without verifying them.
_UNCHECKED = ("LSUN", "LSUNClass")

_MOST_BYTES = 2**20  # of a description
_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
_DESCRIPTIONS = ("README.md", ".huggingface.yaml")  # may link to the files of a folder
_VALIDATION = ("validation", "valid", "val", "dev", "test")  # names of such parts, best first

# Names of columns with labels that are declared as plain values, best first, and their types.
_LABELS = ("label", "labels", "class", "classes", "class_name", "category", "target", "y")
_PLAIN = re.compile("(large_)?string|u?int[0-9]+|bool")


class _Unlabelled(ValueError):
    """A part of a dataset without labels."""


@dataclass(eq=False, repr=False)
class LibraryDataset(LabelledImages):
    """A dataset of another library; each of its items begins with an image.

    That is one of PIL, the content of a file, or its path. ``reading`` is as of a folder.
    """

    items: Any
    reading: str = field(default="", kw_only=True)

    @cached_property
    def kind(self) -> ImageKind:
        """The kind of the first image; those of another kind are refused when they are read."""
        if self.reading in (RGB, GREY) or not len(self):
            return kind_in(io.BytesIO(), self.reading)
        with contextlib.suppress(*UNREADABLE):  # reading it says why
            image = self.items[0][0]
            if isinstance(image, Image.Image):
                return _kind_of(image)
            with _opened(image) as file:
                return kind_in(file, self.reading)
        return PICTURES

    def picture(self, index: int) -> Picture:
        """Read image ``index``."""
        kind = self.kind
        with naming(f"image {index} of {self.source}"):
            image = self.items[index][0]
            if not isinstance(image, Image.Image):
                with _opened(image) as file:
                    return read_open(file, kind, self.ground)
            if kind.picture or kind.reading == GREY:
                return as_kind(image, kind, self.ground)
            if (own := _kind_of(image)) != kind:
                raise ValueError(f"it is {own}, not {kind}")
            return np.asarray(image)[..., None]


def _kind_of(image: Image.Image) -> ImageKind:
    """The kind of an image of PIL; arrays of it have one channel."""
    dtype = np.asarray(image).dtype.name if image.mode[0] in "IF" else ""
    return ImageKind(1, dtype, picture=False) if dtype else PICTURES


@contextlib.contextmanager
def _opened(image: Any) -> Iterator[IO[bytes]]:
    """The content of a file, or of that at a path."""
    if isinstance(image, Path):
        if not image.is_file():
            raise ValueError(f"{shown(str(image))} is not a file on this machine")
        with image.open("rb") as file:
            yield file
    elif isinstance(image, bytes):
        yield io.BytesIO(image)
    else:
        raise ValueError(f"it is a {type(image).__name__}, not an image")


def open_digits(*, reading: str = "") -> LabelledImages:
    """Open scikit-learn's 1,797 hand-written digits of 8 × 8 pixels, part of that library."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = (digits.images * (255 / 16)).astype(np.uint8)
    source = f"scikit-learn digits, {len(grey)} images"
    items = [(Image.fromarray(image),) for image in grey]
    labels = digits.target.astype(np.int64)
    return LibraryDataset(source, tuple("0123456789"), labels, items, reading=reading)


def open_torchvision(
    name: str, *, download: bool = False, reading: str = "", **part: Any
) -> LabelledImages:
    """Open a classification dataset of torchvision, in its default (training) part.

    Its files are in ``$ASVIT_DATA``, else in the folder ``datasets`` of our cache. Arguments of
    the dataset, such as ``train=False``, select another ``part``.
    """
    kind = _torchvision_class(name)
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
    data_root = os.environ.get("ASVIT_DATA")
    root = expanded(data_root) if data_root else cache_folder() / "datasets"
    arguments = {"root": root, "download": download, **part}
    try:
        items = kind(**{key: value for key, value in arguments.items() if key in accepted})
    except (*UNREADABLE, AssertionError) as error:
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
    classes = _apart(name if isinstance(name, str) else ", ".join(name) for name in names)
    return LibraryDataset(source, classes, labels, items, reading=reading)


def open_torchvision_test(
    name: str, *, download: bool = False, reading: str = ""
) -> LabelledImages | None:
    """Open the validation part of a torchvision dataset, else its test part; None without parts.

    A dataset with a training part ``trainval`` gives its test part. LFWPeople gives none: its
    default part holds the test part, whose people are not in its training part. A part of which
    the labels are withheld is skipped.
    """
    accepted = inspect.signature(_torchvision_class(name)).parameters
    if "train" in accepted:
        return open_torchvision(name, download=download, reading=reading, train=False)
    if "split" not in accepted or accepted["split"].default == "10fold":
        return None
    both = accepted["split"].default == "trainval"
    for part in ("test",) if both else ("val", "valid", "test"):
        try:
            return open_torchvision(name, download=download, reading=reading, split=part)
        except _Unlabelled:
            continue
        except OSError as error:
            # torchvision's message for a part that a dataset does not have.
            if not str(error.__cause__).startswith(f"Unknown value '{part}' for argument split"):
                raise
    return None


def _torchvision_class(name: str) -> Any:
    from torchvision import datasets

    names = {
        other
        for other in datasets.__all__
        if isinstance(kind := getattr(datasets, other), type)
        and issubclass(kind, datasets.VisionDataset)
    } - {"VisionDataset", "DatasetFolder", "ImageFolder"}
    if name not in names:
        by_lower = {other.lower(): other for other in sorted(names)}
        near = nearest(name.lower(), by_lower)
        hint = "" if near is None else f"; did you mean {by_lower[near]!r}?"
        raise ValueError(f"torchvision has no dataset {shown(name)}{hint}")
    if name in _UNCHECKED:
        raise ValueError(
            f"torchvision reads a pickle beside the images of {name}, which could hold any"
            " program; save it as a folder of images"
        )
    return getattr(datasets, name)


def _apart(names: Iterable[str]) -> tuple[str, ...]:
    """The names, with a number after those that came before: ``crane``, ``crane (2)``."""
    apart: dict[str, None] = {}
    for name in names:
        numbered = (f"{name} ({number})" for number in count(2))
        apart[next(text for text in chain([name], numbered) if text not in apart)] = None
    return tuple(apart)


def _targets(items: Any, source: str) -> NDArray[np.int64]:
    """Labels of a torchvision dataset, from its attributes or by reading every item."""
    for attribute in ("targets", "labels", "_labels", "y"):
        if len(values := getattr(items, attribute, ())) == len(items):
            break
    else:
        pairs = getattr(items, "_samples", None) or (items[i] for i in range(len(items)))
        values = [label for _, label in pairs]
    if len(values) and all(value is None for value in values):
        raise _Unlabelled(f"{source}: its labels are withheld; use a part that has them")
    labels = np.asarray(values)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{source}: it does not have one class per image")
    return labels.astype(np.int64)


def open_hub(name: str, *, download: bool = False, reading: str = "") -> LabelledImages:
    """Open the training part of ``owner/dataset``, or of a folder that the library can read."""
    table = _hub_table(name, "train", download)
    return _hub_train(name, table, _label_column(name, table), reading)


def open_hub_parts(
    name: str, *, download: bool = False, reading: str = ""
) -> tuple[LabelledImages, LabelledImages | None]:
    """Open the training part of a dataset of the hub, and its validation or test part, if any.

    A part of which all labels are withheld is skipped.
    """
    tables = _hub_table(name, None, download)
    if "train" not in tables:
        raise ValueError(f"hf:{name} has no part 'train'; its parts: {listed(tables)}")
    column = _label_column(name, tables["train"])
    train = _hub_train(name, tables["train"], column, reading)
    for part in _VALIDATION:
        if part in tables and (column is None or column in tables[part].features):
            other = _hub_part(f"{name} {part}", tables[part], column, reading)
            if len(other):
                return train, other
    return train, None


def _hub_table(name: str, part: str | None, download: bool) -> Any:
    """The table of a part of a dataset, or all tables by the name of their part."""
    try:
        import datasets
    except ImportError as error:
        raise missing(f"reading 'hf:{name}'", "datasets", "train") from error
    from datasets.exceptions import DatasetsError

    source = _hub_source(name, download)
    try:
        with contextlib.nullcontext() if download else _offline():
            return datasets.load_dataset(source, split=part)
    except (DatasetsError, OSError, RuntimeError, ValueError) as error:
        reason = first_line(error)
        if not isinstance(error, OSError):
            raise ValueError(f"cannot open hf:{name}: {reason}") from error
        if download:
            raise OSError(f"cannot download hf:{name}: {reason}") from error
        raise FileNotFoundError(
            f"hf:{name} is not on this machine; ask for 'hf:{name}:download' to fetch it"
        ) from error


def _hub_source(name: str, download: bool) -> str:
    """What the library opens: the whole path of a folder, else the name of a dataset.

    It expands no ``~``, and takes a folder such as ``csv`` for its reader of that name.

    Raises:
        ValueError: If it is neither, or a folder that needs the network without ``download``.
    """
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    folder = expanded(name)
    if folder.is_dir():
        remote = [file for file in _DESCRIPTIONS if _has_addresses(folder / file)]
        if remote and not download:
            raise ValueError(
                f"{str(folder / remote[0])!r} has addresses in its header;"
                f" ask for 'hf:{name}:download' to fetch its files from there"
            )
        return str(folder.absolute())
    if not _NAME.fullmatch(name) or name in _PACKAGED_DATASETS_MODULES:
        raise ValueError(f"{shown(name)} is not a dataset's name; use hf:OWNER/NAME, or a folder")
    return name


def _has_addresses(path: Path) -> bool:
    """Whether the part of a description that the library reads contains an address."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        text = file.read(_MOST_BYTES)
    if path.suffix == ".md":
        text = text.split(b"\n---", 1)[0] if text.startswith(b"---") else b""
    return b"://" in text or b"\\" in text  # escapes may hide an address


class _Encoded:
    """The images of a table, undecoded: the library would fetch images given as addresses."""

    def __init__(self, table: Any, column: str) -> None:
        import datasets

        images = table.select_columns([column])
        self._rows = images.cast_column(column, datasets.Image(decode=False))
        self._column = column

    def __getitem__(self, index: int) -> tuple[bytes | Path]:
        stored = self._rows[index][self._column]
        return (Path(stored["path"]) if stored["bytes"] is None else bytes(stored["bytes"]),)


def _hub_train(name: str, table: Any, column: str | None, reading: str) -> LabelledImages:
    """The table of the training part as labelled images, of which there has to be one."""
    train = _hub_part(name, table, column, reading)
    if not len(train):
        raise ValueError(
            f"hf:{name} has no image with a label in 'train'; save labelled ones as a folder"
        )
    return train


def _hub_part(name: str, table: Any, column: str | None, reading: str) -> LabelledImages:
    """A table of the library as images with the labels in a column.

    Those without a label, or with a withheld one (-1 by the hub's convention), are left out.
    """
    images = _columns(table, "Image")
    if not images:
        raise ValueError(
            f"hf:{name} has no column of images; its columns: {listed(table.features)}"
        )
    _warn_of_several(name, "Image", images)
    classes: tuple[str, ...] = ("images",)
    labels = np.zeros(len(table), np.int64)
    if column is not None:
        classes, labels = _labels(name, table, column)
        labelled = np.flatnonzero(labels >= 0)
        if len(labelled) < len(labels):
            if len(labelled):
                _log.warning(
                    "%d of %d images of hf:%s have no label and are left out",
                    *(len(labels) - len(labelled), len(labels), name),
                )
            table, labels = table.select(labelled), labels[labelled]
    source = f"Hugging Face {name}, {len(table)} images"
    return LibraryDataset(source, classes, labels, _Encoded(table, images[0]), reading=reading)


def _columns(table: Any, kind: str) -> list[str]:
    """The columns of a table of a kind of the library, such as ``Image``."""
    return [name for name, feature in table.features.items() if type(feature).__name__ == kind]


def _warn_of_several(name: str, kind: str, columns: Sequence[str]) -> None:
    if len(columns) > 1:
        _log.warning(
            "hf:%s has several columns of kind %s, %s; %r is used",
            *(name, kind, listed(columns), columns[0]),
        )


def _label_column(name: str, table: Any) -> str | None:
    """The column of the labels: the first of class labels, else one of plain values.

    That is one of text, integers or truth values with a usual name, else the only one of these, if
    its values occur twice on average.
    """
    if declared := _columns(table, "ClassLabel"):
        _warn_of_several(name, "ClassLabel", declared)
        return declared[0]
    plain = {
        column.lower(): column
        for column in _columns(table, "Value")
        if _PLAIN.fullmatch(table.features[column].dtype)
    }
    for usual in _LABELS:
        if usual in plain:
            return plain[usual]
    for column in plain.values() if len(plain) == 1 else ():
        values = table[column][:]
        if 2 * len(set(values)) <= len(values):
            _log.warning("hf:%s declares no classes; those in column %r are used", name, column)
            return column
    return None


def _labels(name: str, table: Any, column: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The classes in a column, and the label of each row; -1 where it has none."""
    values = table[column][:]
    if type(table.features[column]).__name__ == "ClassLabel":
        numbers = [-1 if label is None else label for label in values]
        return tuple(table.features[column].names), np.array(numbers, np.int64)
    known = {value for value in values if value not in (None, "")}
    if len(known) != 2:  # else -1 is a class beside 1
        known -= {-1}
    ordered = sorted(known)
    classes = tuple(composed(str(value)) for value in ordered)
    check_apart(classes, f"hf:{one_line(name)}")
    places = {value: place for place, value in enumerate(ordered)}
    return classes, np.array([places.get(value, -1) for value in values], np.int64)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep the Hugging Face libraries offline; their environment variable works only on import."""
    with contextlib.ExitStack() as stack:
        for module in ("datasets.config", "huggingface_hub.constants"):
            stack.enter_context(patch(f"{module}.HF_HUB_OFFLINE", True))
        yield

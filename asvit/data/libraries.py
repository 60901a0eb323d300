"""Images of other libraries: torchvision's sets, the Hugging Face hub's, and tar archives.

Nothing here uses the network unless ``download`` is true.
"""

import inspect
import logging
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from asvit.core.files import expanded
from asvit.core.versions import missing
from asvit.data.base import (
    TEST,
    TRAIN,
    VALIDATION,
    Content,
    Indices,
    LabelledImages,
    check_apart,
    composed,
    packed,
)
from asvit.data.cache import cache_folder
from asvit.data.decoding import UNREADABLE
from proxies.messages import first_line
from proxies.text import listed, one_line, shown

_log = logging.getLogger(__name__)

# No datasets of their own, and those whose files torchvision unpickles without verifying them.
_REFUSED = ("VisionDataset", "DatasetFolder", "ImageFolder", "LSUN", "LSUNClass")

# Names of parts in these libraries, best first.
_PARTS = {VALIDATION: ("validation", "valid", "val", "dev"), TEST: ("test",)}

_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)

# Names of columns with labels that are declared as plain values, best first, and their types.
_LABELS = ("label", "labels", "class", "classes", "class_name", "category", "target", "y")
_PLAIN = re.compile("(large_)?string|u?int[0-9]+|bool")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")  # in a pattern of archives
_SAMPLES = "use samples of KEY.jpg and KEY.cls, a number, or KEY.txt, the name of a class"


def torchvision_parts(
    name: str, *, download: bool = False, reading: str = ""
) -> Mapping[str, LabelledImages]:
    """The parts of a classification dataset of torchvision, but those whose labels are withheld.

    Its files are in ``$ASVIT_DATA``, else in the folder ``datasets`` of our cache. ``trainval``
    has the images to validate with.
    """
    from torchvision import datasets

    make = getattr(datasets, name) if name in {*datasets.__all__} - {*_REFUSED} else None
    if not (isinstance(make, type) and issubclass(make, datasets.VisionDataset)):
        raise ValueError(f"torchvision has no dataset {shown(name)} that can be used")
    accepted = inspect.signature(make).parameters
    choices: list[tuple[str, dict[str, Any]]] = []
    if "train" in accepted:
        choices = [(TEST, {"train": False})]
    elif "split" in accepted and str(default := accepted["split"].default).startswith("train"):
        known = (TEST,) if default == "trainval" else (VALIDATION, TEST)
        choices = [(part, {"split": word}) for part in known for word in _PARTS[part]]
    parts = {TRAIN: _open_torchvision(make, name, {}, download, reading)}
    for part, choice in choices:
        with suppress(ValueError):  # there is no such part, or it has no labels
            if part not in parts:
                parts[part] = _open_torchvision(make, name, choice, download, reading)
    return parts


def _open_torchvision(
    make: Any, name: str, part: Mapping[str, Any], download: bool, reading: str
) -> LabelledImages:
    """A part of a dataset; a ValueError if there is none, or none with labels."""
    accepted = inspect.signature(make).parameters
    data_root = os.environ.get("ASVIT_DATA")
    root = expanded(data_root) if data_root else cache_folder() / "datasets"
    arguments = {"root": root, "download": download, **part}
    try:
        items = make(**{key: value for key, value in arguments.items() if key in accepted})
    except (*UNREADABLE, AssertionError) as error:
        reason = first_line(error).partition(". ")[0]  # the rest is about torchvision's arguments
        if part and reason.startswith("Unknown value"):
            raise
        ask = f", or ask for 'torchvision:{name}:download'" if "download" in accepted else ""
        raise FileNotFoundError(
            f"cannot open torchvision:{name} in {str(root)!r}: {reason};"
            f" set ASVIT_DATA to its folder{ask}"
        ) from error
    words = "".join(" test" if key == "train" else f" {value}" for key, value in part.items())
    source = f"torchvision {name}{words}, {len(items)} images"
    labels = _targets(items, source)
    # ImageNet has several names per class, and two cranes; without names they are numbered.
    names = getattr(items, "classes", None) or range(int(labels.max(initial=-1)) + 1)
    texts = [", ".join(each) if isinstance(each, tuple) else str(each) for each in names]
    often = Counter(texts)
    classes = tuple(
        text if often[text] < 2 else f"{text} (class {at})" for at, text in enumerate(texts)
    )
    return LabelledImages(source, classes, labels, partial(_item, items), reading=reading)


def _item(items: Any, index: int) -> Content:
    content: Content = items[index][0]
    return content


def _targets(items: Any, source: str) -> Indices:
    """Labels of a torchvision dataset, from its attributes or by reading every item."""
    for attribute in ("targets", "labels", "_labels", "y"):
        if len(values := getattr(items, attribute, ())) == len(items):
            break
    else:
        pairs = getattr(items, "_samples", None) or (items[i] for i in range(len(items)))
        values = [label for _, label in pairs]
    labels = np.asarray(values)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{source}: it does not have one class per image, or withholds them")
    return labels.astype(np.int64)


def hub_parts(
    name: str, *, download: bool = False, reading: str = ""
) -> Mapping[str, LabelledImages]:
    """The parts of a dataset of the hub; those without labels are skipped."""
    spec = f"hf:{name}"
    datasets = _library(spec)
    modules = datasets.packaged_modules._PACKAGED_DATASETS_MODULES  # such as parquet
    if not _NAME.fullmatch(name) or name in modules or expanded(name).exists():
        raise ValueError(f"{shown(name)} is not a dataset's name on the hub; use hf:OWNER/NAME")
    try:
        tables = _load(datasets, name, download=download)
    except Exception as error:  # the library raises nearly anything
        if isinstance(error, OSError) and not download:
            what = f"{spec} is not on this machine; ask for '{spec}:download' to fetch it"
            raise FileNotFoundError(what) from error
        raise ValueError(f"cannot open {spec}: {first_line(error)}") from error
    if TRAIN not in tables:
        raise ValueError(f"{spec} has no part 'train'; its parts: {listed(tables)}")
    column = _label_column(spec, tables[TRAIN])
    parts = {TRAIN: _images_in(spec, tables[TRAIN], column, reading)}
    if not len(parts[TRAIN]):
        raise ValueError(f"{spec} has no image with a label in 'train'; save some as a folder")
    for part, words in _PARTS.items():
        for word in words:
            if part not in parts and word in tables and column in {None, *tables[word].features}:
                other = _images_in(f"{spec} {word}", tables[word], column, reading)
                parts |= {part: other} if len(other) else {}
    return parts


def archives(pattern: str, *, reading: str = "") -> Mapping[str, LabelledImages]:
    """The images of tar archives that a pattern names, as ``train-{0000..1023}.tar`` or ``*.tar``.

    A sample is an image and a file of the same name but for its ending: ``.cls``, which holds the
    number of the class, or ``.txt``, its name.
    """
    files, datasets = shards_of(pattern), _library(f"wds:{pattern}")
    try:
        paths = {TRAIN: [str(file.absolute()) for file in files]}
        table = _load(datasets, "webdataset", data_files=paths)[TRAIN]
    except Exception as error:  # the library raises nearly anything on other files
        reason = first_line(error.__cause__ or error)
        raise ValueError(f"cannot read {shown(pattern)}: {reason}; {_SAMPLES}") from error
    column = next((name for name in ("cls", "txt") if name in table.features), None)
    if column is None or not _columns(table, "Image"):
        raise ValueError(f"no images with classes in {shown(pattern)}; {_SAMPLES}")
    images = _images_in("archives", table, column, reading)
    if without := len(table) - len(images):
        raise ValueError(f"{without} image(s) in {shown(pattern)} have no class; {_SAMPLES}")
    pairs = zip(table["__url__"][:], table["__key__"][:], strict=True)
    images.names = packed(f"{Path(archive).name}/{key}" for archive, key in pairs)
    about = f"{len(images)} images, {len(images.classes)} classes"
    images.source = f"shards {Path(pattern).name}, {about}"
    return {TRAIN: images}


def shards_of(pattern: str) -> Sequence[Path]:
    """The archives that a pattern names, in order: ``{000..123}`` and wildcards are expanded."""
    if (braces := _RANGE.search(pattern)) is not None:
        first, last = braces.groups()
        numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
        parts = (pattern[: braces.start()] + text + pattern[braces.end() :] for text in numbers)
        return [shard for part in parts for shard in shards_of(part)]
    path = expanded(pattern)
    shards = [path] if path.is_file() else sorted(path.parent.glob(path.name)) if path.name else []
    if not shards:
        raise FileNotFoundError(
            f"no archive {shown(pattern)}; give e.g. wds:train-{{000..123}}.tar"
        )
    return shards


def _library(spec: str) -> Any:
    try:
        import datasets.packaged_modules
    except ImportError as error:
        raise missing(f"reading {spec!r}", "datasets", "train") from error
    return datasets


def _load(datasets: Any, name: str, *, download: bool = False, **options: Any) -> Any:
    """The tables of a dataset by their parts; offline unless it is to be downloaded."""
    with ExitStack() as stack:
        # The environment variable of these libraries works only on import.
        for module in () if download else ("datasets.config", "huggingface_hub.constants"):
            stack.enter_context(patch(f"{module}.HF_HUB_OFFLINE", True))
        return datasets.load_dataset(name, **options)


def _images_in(spec: str, table: Any, column: str | None, reading: str) -> LabelledImages:
    """A table of the library as images; those without a label, or with -1, are left out."""
    from datasets import Image

    images = _columns(table, "Image")
    if not images:
        raise ValueError(f"{spec} has no column of images; its columns: {listed(table.features)}")
    classes: tuple[str, ...] = ("images",)
    labels = np.zeros(len(table), np.int64)
    if column is not None:
        classes, labels = _labels(spec, table, column)
    labelled = np.flatnonzero(labels >= 0)
    if 0 < len(labelled) < len(labels):
        words = "%d of %d images of %s have no label and are left out"
        _log.warning(words, len(labels) - len(labelled), len(labels), spec)
    if len(labelled) < len(labels):
        table, labels = table.select(labelled), labels[labelled]
    rows = table.select_columns([images[0]]).cast_column(images[0], Image(decode=False))
    return LabelledImages(
        f"Hugging Face {spec.removeprefix('hf:')}, {len(table)} images",
        classes,
        labels,
        partial(_bytes_in, rows, images[0]),
        reading=reading,
        stored_as="bytes",
        kept_in=[Path(file["filename"]) for file in rows.cache_files],
    )


def _bytes_in(rows: Any, column: str, index: int) -> bytes:
    """The file in a row, where the library would fetch those given as addresses itself."""
    stored = rows[index][column]
    if stored["bytes"] is not None:
        return bytes(stored["bytes"])
    path = Path(stored["path"])
    if not path.is_file():
        raise ValueError(f"{shown(str(path))} is not a file on this machine")
    return path.read_bytes()


def _columns(table: Any, kind: str) -> list[str]:
    """The columns of a table of a kind of the library, such as ``Image``."""
    return [name for name, feature in table.features.items() if type(feature).__name__ == kind]


def _label_column(spec: str, table: Any) -> str | None:
    """The first column of class labels, else one of text, integers or truth values."""
    if declared := _columns(table, "ClassLabel"):
        if len(declared) > 1:
            words = "%s has labels in several columns, %s; those in %r are used"
            _log.warning(words, spec, listed(declared), declared[0])
        return declared[0]
    columns = {column.lower(): column for column in _columns(table, "Value")}
    plain = (columns[usual] for usual in _LABELS if usual in columns)
    return next((name for name in plain if _PLAIN.fullmatch(table.features[name].dtype)), None)


def _labels(spec: str, table: Any, column: str) -> tuple[tuple[str, ...], Indices]:
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
    check_apart(classes, one_line(spec))
    places = {value: place for place, value in enumerate(ordered)}
    return classes, np.array([places.get(value, -1) for value in values], np.int64)

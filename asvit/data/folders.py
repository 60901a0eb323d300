"""Images of a folder: parts of a dataset, class folders, or images alone."""

import functools
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from asvit.core.console import quantity
from asvit.core.run_files import MARKER, RUNS_FOLDER
from asvit.data.base import (
    TEST,
    TRAIN,
    VALIDATION,
    LabelledImages,
    check_apart,
    composed,
    files_below,
)
from asvit.data.decoding import ENDINGS
from proxies.text import listed, one_line

_log = logging.getLogger(__name__)

# What systems keep beside pictures, thumbnails among it; names that begin so are hidden.
_SYSTEM: Final = (".", "@eaDir", "#recycle", "__MACOSX", "Thumbs.db", "desktop.ini")

_TRAINING: Final = ("train", "training")  # names of parts, best first
_OTHERS: Final = ("val", "validation", "valid", "dev", "eval", "test", "testing")  # to test: last

# Words for parts in names such as seg_train, PublicTest, trainset or test1.
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PART_WORDS: Final = {
    TRAIN: re.compile("(train|training|trn)(set)?"),
    VALIDATION: re.compile("(val|validation|valid|dev|eval)(set)?"),
    TEST: re.compile("(test|testing|tst)(set)?"),
}


class Listing(NamedTuple):
    """Sorted names of what is in a folder, except folders of runs and what systems keep there."""

    images: list[str]
    folders: list[str]
    others: list[str]  # files of other endings


def list_folder(folder: Path) -> Listing:
    """List a folder; names that begin with a dot are left out."""
    with os.scandir(folder) as scan:
        visible = [entry for entry in scan if not entry.name.startswith(_SYSTEM)]
    listing = Listing([], [], [])
    for entry in sorted(visible, key=lambda entry: (composed(entry.name), entry.name)):
        path = Path(entry.path)
        if not entry.is_dir():  # a broken link counts as an image: reading it reports the error
            is_image = path.suffix.lower() in ENDINGS
            (listing.images if is_image else listing.others).append(entry.name)
        elif not (path / MARKER).exists() and not (
            entry.name == RUNS_FOLDER and any(path.glob(f"*/{MARKER}"))
        ):
            listing.folders.append(entry.name)
    return listing


def _walk(folder: Path, above: tuple[Path, ...] = ()) -> tuple[list[str], Counter[str]]:
    """All images under ``folder``, relative to it, and the endings of all other files.

    Its own are first, then folder by folder. Links are followed; ``above`` has the folders above.
    """
    here = folder.resolve()
    if here in above:
        raise ValueError(
            f"{str(folder)!r} leads back to a folder above it; remove the link, or move it up"
        )
    images, folders, others = list_folder(folder)
    endings = Counter(Path(name).suffix.lower() or "without ending" for name in others)
    for name in folders:
        inner, more = _walk(folder / name, (*above, here))
        images += [f"{name}/{image}" for image in inner]
        endings += more
    return images, endings


def find_images(folder: Path) -> list[Path]:
    """All images in a folder and in those inside it, sorted by folder; a ValueError if none."""
    images, others = _walk(folder)
    if not images:
        raise _no_images(folder, others)
    return [folder / name for name in images]


def _no_images(folder: Path, others: Counter[str]) -> ValueError:
    there = f", but {_in_words(others)}" if others else ""
    return ValueError(
        f"no images in {str(folder)!r}{there}; use .jpg, .png, .tif or other image files"
    )


def _in_words(endings: Counter[str]) -> str:
    by_number = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    return listed(f"{number:,} {ending}" for ending, number in by_number)


@functools.cache
def _warn_once(folder: Path, what: str) -> None:
    _log.warning("folder %s: %s", listed([folder.resolve().name]), what)


def is_part(name: str) -> bool:
    """Whether a folder of this name is a part of a dataset, if it has class folders."""
    return name.lower() in (*_TRAINING, *_OTHERS)


def folder_parts(
    root: Path, *, reading: str = "", partial: bool = False
) -> Mapping[str, LabelledImages]:
    """The images of a folder by their parts; those of no part are to train on.

    Class folders may be empty if ``partial``, and in parts to validate or test on.
    """
    if not root.is_dir():
        what = f"{str(root)!r} is a file" if root.exists() else f"no folder {str(root)!r}"
        error = ValueError if root.exists() else FileNotFoundError
        raise error(f"{what}; give a folder of images")
    return {
        part: _open_part(root, path, reading, partial=partial or place > 0)
        for place, (part, path) in enumerate(_read_layout(root).items())
    }


def _open_part(root: Path, folder: Path, reading: str, *, partial: bool) -> LabelledImages:
    """Images of ``folder/CLASS/**/image.jpg``, or ``folder/image.jpg`` with one class.

    Names are relative to ``root`` and sorted: indices are the same on every machine.
    """
    groups = _files_by_class(folder, partial=partial)
    sizes, own = [len(files) for files in groups.values()], folder.resolve().name
    below = folder.relative_to(root).parts
    return files_below(
        root,
        (
            "/".join(filter(None, (*below, name, file)))
            for name, files in groups.items()
            for file in files
        ),
        f"folder {own}, {sum(sizes)} images, {len(groups)} classes",
        tuple(name or own for name in groups),
        np.repeat(np.arange(len(groups)), sizes),
        reading,
    )


def _read_layout(root: Path) -> Mapping[str, Path]:
    """The folders with class folders in a folder, by their parts; one of no part is to train on.

    Parts are folders called ``train`` and ``val``, or another usual name in any case, with class
    folders inside; ``train`` beside others than these is a class. One part beside that to train on
    is the test. A warning names parts without those class folders.
    """
    inner = list_folder(root).folders
    paths = {name.lower(): root / name for name in inner}  # of two that differ in case, the lower
    train = [paths[name] for name in _TRAINING if name in paths][:1]
    others = [paths[name] for name in _OTHERS if name in paths]
    classes = _folders(train[0]) if train else set()
    beside = len(inner) > len(train) + len(others)
    if (beside and not (train and others)) or (train and not classes):
        return {TRAIN: root}
    labelled = [path for path in others if _folders(path) & (classes or _folders(path))]
    if unlabelled := [repr(path.name) for path in others if path not in labelled]:
        _warn_once(root, f"left out is {listed(unlabelled)}, without folders of its classes")
    parts = dict(zip([TRAIN], train, strict=False))
    if len(labelled) > 1:
        parts[VALIDATION] = labelled[0]
    if labelled:
        parts[TEST] = labelled[-1]
    return parts or {TRAIN: root}


def _folders(path: Path) -> set[str]:
    return {*map(composed, list_folder(path).folders)}


def _files_by_class(root: Path, *, partial: bool) -> dict[str, list[str]]:
    """The images of each class folder, relative to it; or of ``root``, as the class ``""``."""
    flat, folders, _ = list_folder(root)
    if flat and folders:
        raise ValueError(
            f"{str(root)!r} holds both images ({one_line(flat[0])}) and folders"
            f" ({one_line(folders[0])}); use class folders only, or images only"
        )
    _check_names(root, folders)
    groups, left_out = dict[str, list[str]](), Counter[str]()
    for name in folders or [""]:
        files, endings = _walk(root / name)
        left_out += endings
        if files:
            groups[name] = files
        elif not partial:
            raise _no_images(root / name, endings)
    if not groups:
        raise _no_images(root, left_out)
    check_apart(map(composed, groups), repr(str(root)))
    if len({*map(composed, groups)}) < len(groups):
        raise ValueError(f"{str(root)!r} has folders of equal names but for the form of Unicode")
    _check_folders(root, groups)
    if left_out:
        what = f"{quantity(left_out.total(), 'file')} of endings that are not read"
        _warn_once(root, f"left out are {what} ({_in_words(left_out)})")
    return groups


def _check_names(root: Path, folders: Sequence[str]) -> None:
    """Raise a ValueError if folders are parts of a dataset by their names, and no classes.

    That are names that differ only in a word like "train" or "test", or names that all have such
    a word; so "train" beside "bus" is a class.
    """
    parts = dict[str, str]()
    alike = defaultdict[tuple[str, ...], set[str]](set)  # parts by the other words of names
    for name in folders:
        words = [word.lower() for word in _WORDS.findall(name)]
        for part, form in _PART_WORDS.items():
            if any(map(form.fullmatch, words)):
                parts[name] = part
                alike[tuple(word for word in words if not form.fullmatch(word))].add(part)
    all_are = len(parts) == len(folders) and len({*parts.values()}) > 1
    if all_are or any(TRAIN in several and len(several) > 1 for several in alike.values()):
        raise ValueError(
            f"{str(root)!r} has {listed(map(repr, parts))}, which look like parts of one dataset "
            "by their names; rename them train, val or test, with a folder for each class inside"
        )


def _check_folders(root: Path, images: Mapping[str, Sequence[str]]) -> None:
    """Raise a ValueError if a folder is one too deep, or all have the same folders inside.

    ``images`` has the images of each class folder, relative to it.
    """
    inside = {
        name: {composed(file.split("/")[0]) for file in files if "/" in file}
        for name, files in images.items()
    }
    (first, files), *more = images.items()
    if not more and all("/" in file for file in files):
        better = str(root / first)
        raise ValueError(f"{str(root)!r} has one folder with others inside; give {better!r}")
    shared = set.intersection(*inside.values())
    if more and len(shared) > 1:
        raise ValueError(
            f"{str(root)!r} has {listed(map(repr, inside))}, which have the same folders inside, "
            f"{listed(map(repr, sorted(shared)))}; if these are the classes, use FOLDER/CLASS, or "
            "train/CLASS and val/CLASS; else put all images of a class into its folder itself"
        )

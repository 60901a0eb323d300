"""What a folder of images is: parts of a dataset, class folders, or images alone."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asvit.data.base import TEST, TRAIN, VALIDATION
from asvit.data.folders import list_folder, warn_once
from asvit.data.texts import composed
from proxies.text import listed

_TRAINING_FOLDERS = ("train", "training")  # best first
_OTHER_FOLDERS = ("val", "validation", "valid", "dev", "eval", "test", "testing")  # to test: last
_DEEPEST = 10  # folders that are looked into where each is alone in another one

# Words that names of parts are made of, and those that stand beside them.
_PART_OF_WORD = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "validation", "valid", "dev", "eval"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tst"), TEST),
}
_FILLER = "set|data|dataset|images?|imgs?|pictures?|photos?|samples?|split|part|folder"
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of names like PublicTest and train_1
_GLUED = re.compile(f"({'|'.join(_PART_OF_WORD)})(?:{_FILLER})?")  # as in trainset

# Folders of what segmenters and detectors are trained on, beside that of the pictures.
_PICTURES = {
    *("image", "images", "img", "imgs", "picture", "pictures", "photos", "jpegimages"),
    *("input", "inputs", "imagestr", "imagests"),
}
_TRUTHS = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "groundtruth", "gt"),
    *("segmentation", "segmentations", "segmentationclass", "segmentationobject", "targets"),
    "labelstr",
}


def read_layout(root: Path) -> Mapping[str, Path]:
    """The folders with class folders in a folder, by their parts; one of no part is to train on.

    Parts are folders called ``train`` and ``val``, or another usual name in any case, with class
    folders inside. A folder ``train`` beside others than these is a class. A folder that is alone
    in another one, and has several others inside, is taken in its place. Where there is one part
    beside that to train on, it is the test. A warning names parts without class folders.
    """
    folder = _entered(root)
    inner = list_folder(folder).folders if folder.is_dir() else []
    names = {name.lower(): name for name in inner}  # of two that differ in case, the lower
    train = [names[name] for name in _TRAINING_FOLDERS if name in names][:1]
    others = [names[name] for name in _OTHER_FOLDERS if name in names]
    if len(inner) > len(others) + len(train) and not (train and others):
        return {TRAIN: folder}
    first = next((_class_folders(folder / name, ()) for name in train), None)
    if train and first is None:
        return {TRAIN: folder}
    known = [] if first is None else list_folder(first).folders
    labelled = {name: _class_folders(folder / name, known) for name in others}
    if unlabelled := [name for name, path in labelled.items() if path is None]:
        what = f"left out is {listed(map(repr, unlabelled))}, without folders of its classes"
        warn_once(folder, what)
    parts = {} if first is None else {TRAIN: first}
    if there := [path for path in labelled.values() if path is not None]:
        parts |= {VALIDATION: there[0]} if len(there) > 1 else {}
        parts[TEST] = there[-1]
    return parts or {TRAIN: folder}


def is_part(name: str) -> bool:
    """Whether a folder of this name is a part of a dataset, if it has class folders."""
    return name.lower() in (*_TRAINING_FOLDERS, *_OTHER_FOLDERS)


def _entered(root: Path, *, parts: bool = True) -> Path:
    """The folder with several others inside, where each above it has one folder alone.

    With ``parts``, a folder of a part with folders inside is several.
    """
    folder = root
    for _ in range(_DEEPEST):
        images, inner, _others = list_folder(folder) if folder.is_dir() else ([], [], [])
        if images or len(inner) != 1:
            return folder if len(inner) > 1 and not images else root
        if parts and is_part(inner[0]) and list_folder(folder / inner[0]).folders:
            return folder
        folder = folder / inner[0]
    return root


def _class_folders(part: Path, known: Iterable[str]) -> Path | None:
    """The folder in a part that has the class folders; None if it has none.

    With classes that are ``known``, a folder of another name that is alone is none of them.
    """
    classes = {*map(composed, known)}
    folders = list_folder(part).folders
    if len(folders) != 1 or composed(folders[0]) in classes:
        return part if folders else None
    entered = _entered(part, parts=False)
    if entered != part and (not classes or classes & {*map(composed, list_folder(entered)[1])}):
        return entered
    return None if classes else part


def check_names(root: Path, folders: Sequence[str]) -> None:
    """Raise a ValueError if folders are no classes by their names, but parts, or kinds of files.

    Parts are names that differ only in a word like "train" or "test", or names that all have such
    a word; so "train" beside "bus" is a class.
    """
    parts = {name: words for name in folders if (words := _part_in(name)) is not None}
    kinds = defaultdict[tuple[str, ...], set[str]](set)
    for part, rest in parts.values():
        kinds[rest].add(part)
    every = set().union(*kinds.values())
    alike = any(TRAIN in of and len(of) > 1 for of in kinds.values())
    whole = len(parts) == len(folders) or any(list_folder(root / name).folders for name in parts)
    if alike or (len(every) > 1 and whole):
        raise ValueError(
            f"{str(root)!r} has {listed(map(repr, parts))}, which look like parts of one dataset "
            "by their names; rename them train, val or test, with a folder for each class inside"
        )
    plain = {re.sub("[^a-z]", "", name.lower()): name for name in folders}
    pictures, truths = ([plain[n] for n in plain if n in words] for words in (_PICTURES, _TRUTHS))
    if pictures and truths:
        raise ValueError(
            f"{str(root)!r} has {listed(map(repr, (*pictures, *truths)))}, pictures and what is "
            "known of them, not classes; give a folder with a folder of pictures for each class"
        )


def _part_in(name: str) -> tuple[str, tuple[str, ...]] | None:
    """The part that a name has a word for, and the other words in it; None if it has none."""
    words = [word.lower() for word in _WORDS.findall(name)]
    parts = [_PART_OF_WORD[match[1]] for word in words if (match := _GLUED.fullmatch(word))]
    rest = (w for w in words if not _GLUED.fullmatch(w) and not re.fullmatch(_FILLER, w))
    return (parts[0], tuple(rest)) if parts else None


def check_folders(root: Path, images: Mapping[str, Sequence[str]]) -> None:
    """Raise a ValueError if most folders have the same ones inside, as parts have classes.

    ``images`` has the images of each class folder, relative to it. One folder in common, such as
    of a year, says nothing.
    """
    inside = {
        name: {composed(file.split("/")[0]) for file in files if "/" in file}
        for name, files in images.items()
    }
    number = Counter(inner for folders in inside.values() for inner in folders)
    shared = sorted(name for name, count in number.items() if 2 * count > len(images) > 1)
    if len(shared) < 2 or 2 * len(shared) < len(number):
        return
    in_place = any(map(is_part, shared)) * " in place of CLASS/train"
    raise ValueError(
        f"{str(root)!r} has {listed(map(repr, inside))}, most of which have the same folders "
        f"inside, {listed(map(repr, shared))}; if these are the classes, use FOLDER/CLASS; use "
        f"train/CLASS and val/CLASS{in_place}; or put all images of a class into its folder itself"
    )

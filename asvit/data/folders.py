"""What is in a folder of images: parts of a dataset, class folders, or images alone."""

import functools
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from asvit.core.console import quantity
from asvit.core.run_files import MARKER, RUNS_FOLDER
from asvit.data.base import TEST, TRAIN, VALIDATION
from asvit.data.decoding import ENDINGS
from asvit.data.texts import composed
from proxies.text import listed

_log = logging.getLogger(__name__)

_DEEPEST: Final = 100  # nested folders
# What systems keep beside pictures, thumbnails among it; names that begin so are hidden.
_SYSTEM: Final = (".", "@eaDir", "#recycle", "__MACOSX", "Thumbs.db", "desktop.ini")

_TRAINING: Final = ("train", "training")  # names of parts, best first
_OTHERS: Final = ("val", "validation", "valid", "dev", "eval", "test", "testing")  # to test: last

# Words that names of parts are made of, and those that stand beside them.
_PART_OF_WORD: Final = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "validation", "valid", "dev", "eval"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tst"), TEST),
}
_FILLER: Final = "set|data|dataset|images?|imgs?|pictures?|photos?|samples?|split|part|folder"
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of names like PublicTest, train_1
_GLUED: Final = re.compile(f"({'|'.join(_PART_OF_WORD)})(?:{_FILLER})?")  # as in trainset

# Folders of what segmenters and detectors are trained on: pictures, and what is known of them.
_PICTURES: Final = re.compile("(jpeg)?(image|img|picture|photo|input)s?(tr|ts)?")
_TRUTHS: Final = re.compile(r"(mask|label|annotation|target)s?(tr)?|gt|groundtruth|segmentation.*")


class Listing(NamedTuple):
    """Sorted names of what is in a folder, except folders of runs and what systems keep there."""

    images: list[str]
    folders: list[str]
    others: list[str]  # files of other endings


def list_folder(folder: Path) -> Listing:
    """List a folder; names that begin with a dot are left out."""
    with os.scandir(folder) as scan:
        visible = [entry for entry in scan if not entry.name.startswith(_SYSTEM)]
    found = Listing([], [], [])
    for entry in sorted(visible, key=lambda entry: (composed(entry.name), entry.name)):
        if entry.is_dir():
            if not _has_runs(Path(entry.path)):
                found.folders.append(entry.name)
        else:  # a broken link counts as an image, so that reading it reports the error
            is_image = Path(entry.name.lower()).suffix in ENDINGS
            (found.images if is_image else found.others).append(entry.name)
    return found


def _has_runs(folder: Path) -> bool:
    """Whether a folder is that of a run, or ``runs`` with some of them."""
    if folder.name == RUNS_FOLDER and any(folder.glob(f"*/{MARKER}")):
        return True
    return os.path.lexists(folder / MARKER)


def walk(folder: Path, above: tuple[Path, ...] = ()) -> tuple[list[str], Counter[str]]:
    """All images under ``folder``, relative to it: its own first, then folder by folder.

    Also the endings of all other files. Links are followed; ``above`` has the folders above.
    """
    here = folder.resolve()
    if here in above or len(above) >= _DEEPEST:
        raise ValueError(
            f"{str(folder)!r} leads back to a folder above it, or is more than {_DEEPEST} "
            "folders deep; remove the link, or move it up"
        )
    listing = list_folder(folder)
    images, endings = listing.images, count_endings(listing.others)
    for name in listing.folders:
        inner, others = walk(folder / name, (*above, here))
        images += [f"{name}/{image}" for image in inner]
        endings += others
    return images, endings


def count_endings(names: Iterable[str]) -> Counter[str]:
    """Numbers of files by their endings."""
    return Counter(Path(name).suffix.lower() or "without ending" for name in names)


def find_images(folder: Path) -> list[Path]:
    """All images in a folder and in those inside it, sorted by folder; a ValueError if none."""
    images, others = walk(folder)
    if not images:
        raise ValueError(no_images(folder, others))
    return [folder / name for name in images]


def no_images(folder: Path, others: Mapping[str, int]) -> str:
    """The message about a folder without images."""
    there = f", but {_in_words(others)}" if others else ""
    return f"no images in {str(folder)!r}{there}; use .jpg, .png, .tif or other image files"


def warn_of_left_out(root: Path, others: Mapping[str, int]) -> None:
    """Say once what files of a folder of images are not read."""
    if others:
        files = quantity(sum(others.values()), "file")
        warn_once(root, f"left out are {files} of endings that are not read ({_in_words(others)})")


def _in_words(endings: Mapping[str, int]) -> str:
    by_number = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    return listed(f"{number:,} {ending}" for ending, number in by_number)


@functools.cache
def warn_once(folder: Path, what: str) -> None:
    """Warn of something about a folder, once in a process."""
    _log.warning("folder %s: %s", listed([folder.resolve().name]), what)


def is_part(name: str) -> bool:
    """Whether a folder of this name is a part of a dataset, if it has class folders."""
    return name.lower() in (*_TRAINING, *_OTHERS)


def read_layout(root: Path) -> Mapping[str, Path]:
    """The folders with class folders in a folder, by their parts; one of no part is to train on.

    Parts are folders called ``train`` and ``val``, or another usual name in any case, with class
    folders inside. A folder ``train`` beside others than these is a class. A folder that is alone
    in another one, and has several others inside, is taken in its place. Where there is one part
    beside that to train on, it is the test. A warning names parts without those class folders.
    """
    folder = _entered(root, parts=True)
    inner = list_folder(folder).folders if folder.is_dir() else []
    names = {name.lower(): name for name in inner}  # of two that differ in case, the lower
    train = [names[name] for name in _TRAINING if name in names][:1]
    others = [names[name] for name in _OTHERS if name in names]
    if len(inner) > len(train) + len(others) and not (train and others):
        return {TRAIN: folder}
    parts, classes = dict[str, Path](), set[str]()
    for name in train:
        parts[TRAIN] = _entered(folder / name)
        classes = _folders(parts[TRAIN])
        if not classes:
            return {TRAIN: folder}
    places = {name: (folder / name, _entered(folder / name)) for name in others}
    labelled = {
        name: [path for path in both if _folders(path) & (classes or _folders(path))]
        for name, both in places.items()
    }
    if unlabelled := [name for name, there in labelled.items() if not there]:
        what = f"left out is {listed(map(repr, unlabelled))}, without folders of its classes"
        warn_once(folder, what)
    if there := [paths[0 if classes else -1] for paths in labelled.values() if paths]:
        parts |= {VALIDATION: there[0]} if len(there) > 1 else {}
        parts[TEST] = there[-1]
    return parts or {TRAIN: folder}


def _folders(path: Path) -> set[str]:
    return {*map(composed, list_folder(path).folders)}


def _alone(folder: Path) -> str:
    """The name of the folder that is alone in another one and has some inside; empty if none."""
    images, inner, _ = list_folder(folder) if folder.is_dir() else Listing([], [], [])
    alone = not images and len(inner) == 1 and list_folder(folder / inner[0]).folders
    return inner[0] if alone else ""


def _entered(root: Path, *, parts: bool = False) -> Path:
    """The folder with several others inside, where each above it has one folder alone.

    With ``parts``, the folder that has that of a part alone.
    """
    folder = root
    for _ in range(_DEEPEST):  # a link may lead back
        if not (name := _alone(folder)) or (parts and is_part(name)):
            break
        folder /= name
    images, inner, _others = list_folder(folder) if folder.is_dir() else Listing([], [], [])
    return root if images or (len(inner) == 1 and not is_part(inner[0])) else folder


def check_names(root: Path, folders: Sequence[str]) -> None:
    """Raise a ValueError if folders are no classes by their names, but parts, or kinds of files.

    Parts are names that differ only in a word like "train" or "test", or names that all have such
    a word; so "train" beside "bus" is a class.
    """
    parts = {name: words for name in folders if (words := _part_in(name)) is not None}
    kinds = defaultdict[tuple[str, ...], set[str]](set)
    for part, rest in parts.values():
        kinds[rest].add(part)
    alike = any(TRAIN in of and len(of) > 1 for of in kinds.values())
    whole = len(parts) == len(folders) and len(set().union(*kinds.values())) > 1
    if alike or whole:
        raise ValueError(
            f"{str(root)!r} has {listed(map(repr, parts))}, which look like parts of one dataset "
            "by their names; rename them train, val or test, with a folder for each class inside"
        )
    plain = {re.sub("[^a-z]", "", name.lower()): name for name in folders}
    pictures, truths = (
        [plain[name] for name in plain if words.fullmatch(name)] for words in (_PICTURES, _TRUTHS)
    )
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
    if len(shared) > 1 and 2 * len(shared) >= len(number):
        raise ValueError(
            f"{str(root)!r} has {listed(map(repr, inside))}, most of which have the same folders "
            f"inside, {listed(map(repr, shared))}; if these are the classes, use FOLDER/CLASS, or "
            "train/CLASS and val/CLASS; else put all images of a class into its folder itself"
        )

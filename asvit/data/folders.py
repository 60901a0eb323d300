"""Images of a folder: parts of a dataset, class folders, or images alone; and pictures written."""

import functools
import io
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import numpy as np
from PIL import Image

from asvit.core.console import quantity
from asvit.core.files import write_bytes
from asvit.core.run_files import MARKER, RUNS_FOLDER
from asvit.data.base import (
    HEADERS,
    TEST,
    TRAIN,
    VALIDATION,
    Indices,
    LabelledImages,
    Progress,
    Transform,
    read_each,
)
from asvit.data.decoding import ENDINGS, check_as, image_file, kind_in, naming, read_as
from asvit.data.kinds import CONVERTED, GREY, PICTURES, ImageKind, Picture, the_same
from asvit.data.texts import composed, nearly_equal, packed, unpacked
from proxies.text import listed, one_line

_log = logging.getLogger(__name__)

_DEEPEST: Final = 100  # nested folders
# What systems keep beside pictures, thumbnails among it; names that begin so are hidden.
_SYSTEM: Final = (".", "@eaDir", "#recycle", "__MACOSX", "Thumbs.db", "desktop.ini")

_TRAINING: Final = ("train", "training")  # names of parts, best first
_OTHERS: Final = ("val", "validation", "valid", "dev", "eval", "test", "testing")  # to test: last

# Words for parts in names such as seg_train, PublicTest, trainset or test1.
_FILLER: Final = "(set|data|dataset|images?|imgs?|pictures?|photos?|samples?|split|part|folder)"
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PART_WORDS: Final = {
    TRAIN: re.compile(f"(train|training|trn){_FILLER}?"),
    VALIDATION: re.compile(f"(val|validation|valid|dev|eval){_FILLER}?"),
    TEST: re.compile(f"(test|testing|tst){_FILLER}?"),
}

# Folders of what segmenters and detectors are trained on: pictures, and what is known of them.
_PICTURES: Final = re.compile("(jpeg)?(image|img|picture|photo|input)s?(tr|ts)?")
_TRUTHS: Final = re.compile(r"(mask|label|annotation|target)s?(tr)?|gt|groundtruth|segmentation.*")

_UNSAFE = re.compile("[/\0%]")  # in the name of a folder

# Endings of files that are 8-bit pictures, so that their headers need not be read early. A file
# of another format with such a name is refused when it is read.
_ALWAYS_PICTURES = (".jpg", ".jpeg", ".jfif", ".gif", ".webp", ".avif", ".bmp")


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


def walk(folder: Path, above: tuple[Path, ...] = ()) -> tuple[list[str], Counter[str]]:
    """All images under ``folder``, relative to it, and the endings of all other files.

    Its own are first, then folder by folder. Links are followed; ``above`` has the folders above.
    """
    here = folder.resolve()
    if here in above or len(above) >= _DEEPEST:
        raise ValueError(
            f"{str(folder)!r} leads back to a folder above it, or is more than {_DEEPEST} "
            "folders deep; remove the link, or move it up"
        )
    images, folders, others = list_folder(folder)
    endings = Counter(Path(name).suffix.lower() or "without ending" for name in others)
    for name in folders:
        inner, more = walk(folder / name, (*above, here))
        images += [f"{name}/{image}" for image in inner]
        endings += more
    return images, endings


def find_images(folder: Path) -> list[Path]:
    """All images in a folder and in those inside it, sorted by folder; a ValueError if none."""
    images, others = walk(folder)
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


def _read_layout(root: Path) -> Mapping[str, Path]:
    """The folders with class folders in a folder, by their parts; one of no part is to train on.

    Parts are folders called ``train`` and ``val``, or another usual name in any case, with class
    folders inside; ``train`` beside others than these is a class. A folder alone in another one,
    with several others inside, is taken in its place. One part beside that to train on is the
    test. A warning names parts without those class folders.
    """
    folder = _entered(root, parts=True)
    inner = list_folder(folder).folders if folder.is_dir() else []
    names = {name.lower(): name for name in inner}  # of two that differ in case, the lower
    train = [names[name] for name in _TRAINING if name in names][:1]
    others = [names[name] for name in _OTHERS if name in names]
    if len(inner) > len(train) + len(others) and not (train and others):
        return {TRAIN: folder}
    parts, classes = dict[str, Path](), set[str]()
    if train:
        parts[TRAIN] = _entered(folder / train[0])
        classes = _folders(parts[TRAIN])
        if not classes:
            return {TRAIN: folder}
    labelled, unlabelled = list[Path](), list[str]()
    for name in others:
        places = _entered(folder / name), folder / name
        there = [path for path in places if _folders(path) & (classes or _folders(path))]
        labelled += there[:1]
        unlabelled += [] if there else [name]
    if unlabelled:
        what = f"left out is {listed(map(repr, unlabelled))}, without folders of its classes"
        _warn_once(folder, what)
    if labelled:
        parts |= {VALIDATION: labelled[0]} if len(labelled) > 1 else {}
        parts[TEST] = labelled[-1]
    return parts or {TRAIN: folder}


def _folders(path: Path) -> set[str]:
    return {*map(composed, list_folder(path).folders)}


def _entered(root: Path, *, parts: bool = False) -> Path:
    """The folder with several others inside, where each above it has one folder alone.

    With ``parts``, the folder that has that of a part alone.
    """
    folder = root
    for _ in range(_DEEPEST):  # a link may lead back
        images, inner, _others = list_folder(folder) if folder.is_dir() else Listing([], [], [])
        if len(inner) > 1 and not images:
            return folder
        if images or not inner or not _folders(folder / inner[0]):
            return root
        if parts and is_part(inner[0]):
            return folder
        folder /= inner[0]
    return root


def _check_names(root: Path, folders: Sequence[str]) -> None:
    """Raise a ValueError if folders are no classes by their names, but parts, or kinds of files.

    Parts are names that differ only in a word like "train" or "test", or names that all have such
    a word; so "train" beside "bus" is a class.
    """
    parts = dict[str, str]()
    kinds = defaultdict[tuple[str, ...], set[str]](set)  # parts by the other words of names
    for name in folders:
        words = [word.lower() for word in _WORDS.findall(name)]
        for part, form in _PART_WORDS.items():
            if any(map(form.fullmatch, words)):
                parts[name] = part
                rest = (word for word in words if not form.fullmatch(word))
                kinds[tuple(word for word in rest if not re.fullmatch(_FILLER, word))].add(part)
    alike = any(TRAIN in of and len(of) > 1 for of in kinds.values())
    if alike or (len(parts) == len(folders) and len({*parts.values()}) > 1):
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


def _check_folders(root: Path, images: Mapping[str, Sequence[str]]) -> None:
    """Raise a ValueError if most folders have the same ones inside, as parts have classes.

    ``images`` has the images of each class folder, relative to it.
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


class ImageFiles(LabelledImages):
    """Labelled images, each in a file below ``root``, such as ``CLASS/image.jpg``.

    ``reading`` is one of :data:`asvit.core.files.READINGS`, or empty.
    """

    def __init__(
        self,
        root: Path,
        names: Iterable[str],
        source: str,
        classes: tuple[str, ...],
        labels: Indices,
        *,
        transform: Transform | None = None,
        reading: str = "",
    ) -> None:
        super().__init__(source, classes, labels, transform=transform)
        self.root, self.reading = root, reading
        self._names = packed(names)

    @cached_property
    def kind(self) -> ImageKind:
        if self.reading in CONVERTED:
            return CONVERTED[self.reading]

        def kind(index: int) -> ImageKind:
            with naming(self.name(index)), image_file(self.path(index)) as file:
                return kind_in(file)

        certain = [unpacked(name).lower().endswith(_ALWAYS_PICTURES) for name in self._names]
        rest = np.flatnonzero(~np.array(certain, dtype=bool)).tolist()
        known = [(certain.index(True), PICTURES)] if any(certain) else []
        read = read_each(kind, rest, chunk=HEADERS)
        known += [(index, own) for index, own in read if isinstance(own, ImageKind)]
        return the_same(((self.name(index), own) for index, own in known), self.source)

    def picture(self, index: int) -> Picture:
        return read_as(self.path(index), self.kind, self.ground)

    def check(self, index: int) -> None:
        check_as(self.path(index), self.kind)

    def name(self, index: int) -> str:
        return unpacked(self._names[index])

    def path(self, index: int) -> Path:
        return self.root / self.name(index)


class FolderDataset(ImageFiles):
    """Images of a folder: ``root/CLASS/**/image.jpg``, or ``root/image.jpg`` with one class.

    Names are sorted, so that indices are the same on every machine; hidden ones are ignored.

    Args:
        root: The folder.
        reading: One of :data:`asvit.core.files.READINGS`, or empty.
        transform: Applied to each picture by ``dataset[i]``.
        partial: Whether class folders may be empty, as of a part to validate or test on.
        within: A folder that it is in, which names of images are relative to.
    """

    def __init__(
        self,
        root: Path,
        *,
        reading: str = "",
        transform: Transform | None = None,
        partial: bool = False,
        within: Path | None = None,
    ) -> None:
        if not root.is_dir():
            what = f"{str(root)!r} is a file" if root.exists() else f"no folder {str(root)!r}"
            error = ValueError if root.exists() else FileNotFoundError
            raise error(f"{what}; give a folder of images")
        groups = _files_by_class(root, partial=partial)
        sizes = [len(files) for files in groups.values()]
        own = root.resolve().name
        below = root.relative_to(within or root).parts
        super().__init__(
            within or root,
            (
                "/".join(filter(None, (*below, folder, file)))
                for folder, files in groups.items()
                for file in files
            ),
            f"folder {own}, {sum(sizes)} images, {len(groups)} classes",
            tuple(name or own for name in groups),
            np.repeat(np.arange(len(groups)), sizes),
            reading=reading,
            transform=transform,
        )


def folder_parts(
    root: Path, *, reading: str = "", partial: bool = False
) -> Mapping[str, FolderDataset]:
    """The images of a folder by their parts; those of no part are to train on.

    ``partial`` is as of :class:`FolderDataset`, and true of parts to validate or test on.
    """
    return {
        part: FolderDataset(path, reading=reading, partial=partial or place > 0, within=root)
        for place, (part, path) in enumerate(_read_layout(root).items())
    }


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
        files, endings = walk(root / name)
        left_out += endings
        if files:
            groups[name] = files
        elif not partial:
            raise _no_images(root / name, endings)
    if not groups:
        raise _no_images(root, left_out)
    twice, times = Counter(map(composed, groups)).most_common(1)[0]
    if times > 1:
        raise ValueError(
            f"{str(root)!r} has two folders {twice!r}, whose names are equal but for the form of "
            "Unicode; move the images into one"
        )
    _check_folders(root, groups)
    if left_out:
        what = f"{quantity(left_out.total(), 'file')} of endings that are not read"
        _warn_once(root, f"left out are {what} ({_in_words(left_out)})")
    if pair := nearly_equal(groups):
        _warn_once(
            root, f"{pair} are two classes, which differ in capitals, spaces or zeros alone"
        )
    return groups


def write_pictures(
    images: LabelledImages,
    places: Sequence[int],
    folder: Path,
    progress: Progress = lambda _done, _total: None,
) -> None:
    """Write the pictures at ``places`` to class folders as PNG; files that are there stay.

    Where the images have ``parts``, the class folders are in folders of these. A warning names
    pictures that cannot be read.
    """
    if not (images.kind.picture or images.kind.reading == GREY):
        raise ValueError(
            f"{images.source} has {images.kind}, which PNG pictures lose; save it as a folder"
        )
    names = [_UNSAFE.sub(lambda sign: quote(sign[0], safe=""), name) for name in images.classes]
    unreadable = list[str]()
    for done, place in enumerate(places, 1):
        part = folder if images.parts is None else folder / str(images.parts[place])
        path = part / names[images.labels[place]] / f"{place:05d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            try:
                picture = images.picture(place)
                if not isinstance(picture, Image.Image):
                    picture = Image.fromarray(picture[..., 0])
                picture.save(content, "PNG")
                write_bytes(path, content.getvalue(), cached=True)
            except ValueError as error:
                unreadable.append(str(error))
        progress(done, len(places))
    if unreadable:
        words = "%d picture(s) cannot be read and are left out: %s"
        _log.warning(words, len(unreadable), listed(unreadable))
    os.sync()  # once: a power cut could leave empty files, and to wait for each takes long

"""Images in files: those of a folder, with or without class folders."""

import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asvit.core.files import IMAGE_ENDINGS, write_bytes
from asvit.core.run_files import MARKER, RUNS_FOLDER
from asvit.data.base import LabelledImages, Progress, Transform
from asvit.data.decoding import check_as, image_file, kind_of_images, read_as
from asvit.data.kinds import ImageKind, Picture
from asvit.data.texts import Texts, composed
from proxies.text import listed, one_line

# Endings of other pictures, which are not passed over in silence: reading them is an error.
_NEVER_READ = (".heic", ".heif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw")
_LISTED = (*IMAGE_ENDINGS, *_NEVER_READ)


_MAX_DEPTH = 100  # of nested folders
TRAINING_FOLDERS = ("train", "training")  # best first
_VALIDATION_FOLDERS = ("val", "validation", "valid", "dev", "eval", "test", "testing")  # likewise
_PART = re.compile("train|val|test", re.IGNORECASE)
_PART_WORD = re.compile(
    "(?<![a-z])(train(ing)?|val(id(ation)?)?|test(ing)?)(?![a-z])", re.IGNORECASE
)
# What systems keep beside pictures, thumbnails among it; names that begin so are hidden.
_HIDDEN = (".", "@eaDir", "#recycle", "__MACOSX")

PARTS = TRAIN, VALIDATION, TEST = "train", "validation", "test"


class ImageFiles(LabelledImages):
    """Labelled images, each in a file of its own below a folder.

    Args:
        root: The folder.
        names: Paths of the files relative to it, such as ``CLASS/image.jpg``.
        source: As the following ones, a field of :class:`asvit.data.LabelledImages`.
        classes: Name of each label.
        labels: Label of each image.
        transform: Applied to each picture by ``dataset[i]``.
        reading: One of :data:`asvit.data.kinds.READINGS`, or empty.
    """

    def __init__(
        self,
        root: Path,
        names: Iterable[str],
        *,
        source: str,
        classes: tuple[str, ...],
        labels: NDArray[np.int64],
        transform: Transform | None = None,
        reading: str = "",
    ) -> None:
        super().__init__(source, classes, labels, transform=transform)
        self.root, self.reading = root, reading
        self._names = Texts(names)

    @cached_property
    def kind(self) -> ImageKind:
        """The kind of its images, from their headers."""
        return kind_of_images(
            self._names, lambda name: image_file(self.root / name), self.reading, self.source
        )

    def picture(self, index: int) -> Picture:
        """Read image ``index``; a ValueError names a file that cannot be read."""
        return read_as(self.path(index), self.kind, self.ground)

    def check(self, index: int) -> None:
        """Read the header of image ``index``."""
        check_as(self.path(index), self.kind)

    def name(self, index: int) -> str:
        """Return the path of image ``index`` relative to the folder."""
        return self._names[index]

    def path(self, index: int) -> Path:
        """The file of image ``index``."""
        return self.root / self._names[index]


class FolderDataset(ImageFiles):
    """Images of a folder: ``root/CLASS/**/image.jpg``, or ``root/image.jpg`` with one class.

    Names are sorted, so that indices are the same on every machine. Names that begin with a dot,
    and folders of thumbnails and rubbish that some systems make, are ignored. ``reading`` is one
    of :data:`asvit.data.kinds.READINGS`, or empty.
    """

    def __init__(
        self, root: Path, *, reading: str = "", transform: Transform | None = None
    ) -> None:
        groups = _files_by_class(root)
        sizes = [len(files) for files in groups.values()]
        super().__init__(
            root,
            chain.from_iterable(groups.values()),
            reading=reading,
            source=f"folder {root.resolve().name}, {sum(sizes)} images, {len(groups)} classes",
            classes=tuple(map(composed, groups)),
            labels=np.repeat(np.arange(len(groups)), sizes),
            transform=transform,
        )


def _files_by_class(root: Path) -> dict[str, list[str]]:
    """The images of each class folder, relative to ``root``; or those of ``root`` as one class."""
    if not root.exists():
        raise FileNotFoundError(f"no folder {str(root)!r}; give a folder of images")
    if not root.is_dir():
        raise ValueError(f"{str(root)!r} is a file; give a folder of images")
    flat, inner = list_folder(root)
    if splits := split_folders(root, inner):
        raise ValueError(
            f"{str(root)!r} holds splits, not classes; give {str(root / splits[0])!r}"
        )
    if flat and inner:
        raise ValueError(
            f"{str(root)!r} holds both images ({one_line(flat[0])}) and folders"
            f" ({one_line(inner[0])}); use class folders only, or images only"
        )
    _check_are_classes(root, inner)
    if inner:
        groups = {name: [f"{name}/{file}" for file in _walk(root / name)] for name in inner}
    else:
        groups = {root.resolve().name: flat}
    counts = Counter(map(composed, groups))
    if len(counts) < len(groups):
        raise ValueError(
            f"{str(root)!r} has two folders {counts.most_common(1)[0][0]!r}, whose names are "
            "equal but for the form of Unicode; move the images into one"
        )
    empty = [name for name, files in groups.items() if not files]
    if empty:
        where = root / empty[0] if inner else root
        raise ValueError(f"no images in {str(where)!r}; use {', '.join(IMAGE_ENDINGS)} files")
    return groups


def _check_are_classes(root: Path, folders: Iterable[str]) -> None:
    """Raise a ValueError if some folders are parts by their names, with classes inside.

    These are folders in one of them, or, where parts may be words like "trainers", in all.
    """

    def of_train(names: Sequence[str]) -> bool:
        return len(names) > 1 and any("train" in name.lower() for name in names)

    parts = [name for name in folders if _PART.search(name)]
    if not of_train(parts):
        return
    inner = {name: set(list_folder(root / name)[1]) for name in parts}
    named = [name for name in parts if _PART_WORD.search(name)]
    some = of_train(named) and any(inner[name] for name in named)
    if some or len(set.intersection(*inner.values())) > 1:
        raise ValueError(
            f"{str(root)!r} has {listed(map(repr, parts))}, which look like parts of one dataset "
            "by their names; rename them train, val or test, with a folder for each class inside"
        )


def list_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the images in ``folder``, and of its folders, except those of runs."""
    with os.scandir(folder) as scan:
        visible = [e for e in scan if not e.name.startswith(_HIDDEN)]
    entries = sorted(visible, key=lambda e: (composed(e.name), e.name))
    folders = [e.name for e in entries if e.is_dir() and not _has_runs(Path(e.path))]
    # A broken link counts as an image, so that reading it reports the error.
    images = [e.name for e in entries if e.name.lower().endswith(_LISTED) and not e.is_dir()]
    return images, folders


def _has_runs(folder: Path) -> bool:
    """Whether a folder is that of a run, or ``runs`` with some of them."""
    if folder.name == RUNS_FOLDER and any(folder.glob(f"*/{MARKER}")):
        return True
    return os.path.lexists(folder / MARKER)


def split_folders(root: Path, inner: Iterable[str] | None = None) -> list[str]:
    """Names of the folder to train on and of those to validate on, the best first, in any case.

    None unless there are both, and the one to train on has class folders: else it is a class.
    ``inner`` are the folders in ``root``, which are listed if they are not given.
    """
    if inner is None:
        inner = list_folder(root)[1] if root.is_dir() else []
    names = {name.lower(): name for name in inner}  # of two that differ in case, the lower
    train = [names[name] for name in TRAINING_FOLDERS if name in names][:1]
    others = [names[name] for name in _VALIDATION_FOLDERS if name in names]
    both = train and others and list_folder(root / train[0])[1]
    return [*train, *others] if both else []


def find_images(folder: Path) -> list[Path]:
    """All images in a folder and in those inside it, sorted by folder; a ValueError if none."""
    images = [folder / name for name in _walk(folder)]
    if not images:
        raise ValueError(f"no images in {str(folder)!r}; use {', '.join(IMAGE_ENDINGS)} files")
    return images


def _walk(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> list[str]:
    """All images under ``folder``, relative to it: its own first, then folder by folder.

    Links are followed; ``above`` has the device and inode numbers of the folders above.
    """
    about = folder.stat()
    here = (about.st_dev, about.st_ino)
    if here in above:
        raise ValueError(f"{str(folder)!r} leads back to a folder above it; remove the link")
    if len(above) >= _MAX_DEPTH:
        raise ValueError(f"{str(folder)!r} is more than {_MAX_DEPTH} folders deep; move it up")
    images, folders = list_folder(folder)
    inner = (*above, here)
    return images + [
        f"{name}/{image}" for name in folders for image in _walk(folder / name, inner)
    ]


def write_pictures(
    images: LabelledImages,
    places: Sequence[int],
    folder: Path,
    progress: Progress = lambda _done, _total: None,
) -> None:
    """Write the pictures at ``places`` to class folders as PNG; files that are there stay."""
    for done, place in enumerate(places, 1):
        path = folder / images.classes[images.labels[place]] / f"{place:05d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            cast("Image.Image", images.picture(place)).save(content, "PNG")
            write_bytes(path, content.getbuffer(), cached=True)
        progress(done, len(places))
    os.sync()  # once: a power cut could leave empty files, and to wait for each takes long

"""Images in files: those of a folder, with or without class folders, and pictures written."""

import io
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from asvit.core.files import write_bytes
from asvit.data.base import Indices, LabelledImages, Progress, Transform
from asvit.data.decoding import UNREADABLE, check_as, image_file, kind_in, read_as
from asvit.data.folders import (
    check_folders,
    check_names,
    count_endings,
    list_folder,
    no_images,
    read_layout,
    walk,
    warn_of_left_out,
    warn_once,
)
from asvit.data.kinds import CONVERTED, GREY, PICTURES, ImageKind, Picture, the_same
from asvit.data.reading import in_parts
from asvit.data.texts import composed, nearly_equal, packed, unpacked
from proxies.text import listed, one_line

_log = logging.getLogger(__name__)

_UNSAFE = re.compile("[/\0%]")  # in the name of a folder

# Endings of files that are 8-bit pictures, so that their headers need not be read early. A file
# of another format with such a name is refused when it is read.
_ALWAYS_PICTURES = (".jpg", ".jpeg", ".jfif", ".gif", ".webp", ".avif", ".bmp")


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
        """The kind of its images, from their headers; unreadable ones do not count.

        Raises:
            ValueError: If there are several kinds.
        """
        if self.reading in CONVERTED:
            return CONVERTED[self.reading]

        def kind(name: str) -> ImageKind | None:
            with suppress(*UNREADABLE), image_file(self.root / name) as file:
                return kind_in(file)
            return None

        names = [*map(unpacked, self._names)]
        certain = [name for name in names if name.lower().endswith(_ALWAYS_PICTURES)][:1]
        rest = [name for name in names if not name.lower().endswith(_ALWAYS_PICTURES)]
        kinds = zip(rest, in_parts(kind, rest), strict=True)
        known = ((name, own) for name, own in kinds if own)
        return the_same(chain(((name, PICTURES) for name in certain), known), self.source)

    def picture(self, index: int) -> Picture:
        """Read image ``index``; a ValueError names a file that cannot be read."""
        return read_as(self.path(index), self.kind, self.ground)

    def check(self, index: int) -> None:
        """Read the header of image ``index``."""
        check_as(self.path(index), self.kind)

    def name(self, index: int) -> str:
        """The path of image ``index`` relative to the folder."""
        return unpacked(self._names[index])

    def path(self, index: int) -> Path:
        """The file of image ``index``."""
        return self.root / self.name(index)


class FolderDataset(ImageFiles):
    """Images of a folder: ``root/CLASS/**/image.jpg``, or ``root/image.jpg`` with one class.

    Names are sorted, so that indices are the same on every machine. Names that begin with a dot,
    and folders of thumbnails and rubbish that some systems make, are ignored.

    Args:
        root: The folder.
        reading: One of :data:`asvit.core.files.READINGS`, or empty.
        transform: Applied to each picture by ``dataset[i]``.
        partial: Whether it is a part to validate or test on, in which class folders may be empty,
            or one alone.
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
        if not root.exists():
            raise FileNotFoundError(f"no folder {str(root)!r}; give a folder of images")
        if not root.is_dir():
            raise ValueError(f"{str(root)!r} is a file; give a folder of images")
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
        for place, (part, path) in enumerate(read_layout(root).items())
    }


def _files_by_class(root: Path, *, partial: bool) -> dict[str, list[str]]:
    """The images of each class folder, relative to it; or of ``root``, as the class ``""``."""
    flat, folders, others = list_folder(root)
    if flat and folders:
        raise ValueError(
            f"{str(root)!r} holds both images ({one_line(flat[0])}) and folders"
            f" ({one_line(folders[0])}); use class folders only, or images only"
        )
    check_names(root, folders)
    groups, left_out = dict[str, list[str]](), Counter[str]()
    for name in folders:
        files, endings = walk(root / name)
        left_out += endings
        if not files and not partial:
            raise ValueError(no_images(root / name, endings))
        if files:
            groups[name] = files
    if not folders:
        left_out += count_endings(others)
        groups = {"": flat} if flat else {}
    if not groups:
        raise ValueError(no_images(root, left_out))
    name, times = Counter(map(composed, groups)).most_common(1)[0]
    if times > 1:
        raise ValueError(
            f"{str(root)!r} has two folders {name!r}, whose names are equal but for the form of "
            "Unicode; move the images into one"
        )
    check_folders(root, groups)
    warn_of_left_out(root, left_out)
    if pair := nearly_equal(groups):
        warn_once(root, f"{pair} are two classes, which differ in capitals, spaces or zeros alone")
    return groups


def write_pictures(
    images: LabelledImages,
    places: Sequence[int],
    folder: Path,
    progress: Progress = lambda _done, _total: None,
) -> None:
    """Write the pictures at ``places`` to class folders as PNG; files that are there stay.

    Where the images have ``parts``, the class folders are in folders of these. A slash in the
    name of a class becomes ``%2F``. A warning names pictures that cannot be read.

    Raises:
        ValueError: If images have other numbers than 8 bits.
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
            try:
                write_bytes(path, _as_png(images.picture(place)), cached=True)
            except ValueError as error:
                unreadable.append(str(error))
        progress(done, len(places))
    if unreadable:
        words = "%d picture(s) cannot be read and are left out: %s"
        _log.warning(words, len(unreadable), listed(unreadable))
    os.sync()  # once: a power cut could leave empty files, and to wait for each takes long


def _as_png(picture: Picture) -> bytes:
    """The content of a PNG file of a picture, or of a grey array ``[H, W, 1]``."""
    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(picture[..., 0])
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()

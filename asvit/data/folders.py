"""What is in folders of images: the images, other files, and folders."""

import functools
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from asvit.core.console import quantity
from asvit.core.run_files import MARKER, RUNS_FOLDER
from asvit.data.decoding import ENDINGS
from asvit.data.texts import composed
from proxies.text import listed

_log = logging.getLogger(__name__)

# Endings of other pictures, which are not passed over in silence: reading them is an error.
_NEVER_READ = (".heic", ".heif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw")
_LISTED = (*ENDINGS, *_NEVER_READ)

_MAX_DEPTH = 100  # of nested folders
# What systems keep beside pictures, thumbnails among it; names that begin so are hidden.
_SYSTEM = (".", "@eaDir", "#recycle", "__MACOSX", "Thumbs.db", "desktop.ini")


class Listing(NamedTuple):
    """Sorted names of what is in a folder, except folders of runs and what systems keep there."""

    images: list[str]
    folders: list[str]
    others: list[str]  # files of other endings


def list_folder(folder: Path) -> Listing:
    """List a folder; names that begin with a dot are left out."""
    with os.scandir(folder) as scan:
        visible = [e for e in scan if not e.name.startswith(_SYSTEM)]
    entries = sorted(visible, key=lambda e: (composed(e.name), e.name))
    folders = [e.name for e in entries if e.is_dir() and not _has_runs(Path(e.path))]
    # A broken link counts as an image, so that reading it reports the error.
    files = [e.name for e in entries if not e.is_dir()]
    images = [name for name in files if name.lower().endswith(_LISTED)]
    others = [name for name in files if not name.lower().endswith(_LISTED)]
    return Listing(images, folders, others)


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
    if here in above or len(above) >= _MAX_DEPTH:
        raise ValueError(
            f"{str(folder)!r} leads back to a folder above it, or is more than {_MAX_DEPTH} "
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


def _in_words(endings: Mapping[str, int]) -> str:
    by_number = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    return listed(f"{number:,} {ending}" for ending, number in by_number)


def warn_of_left_out(root: Path, others: Mapping[str, int]) -> None:
    """Say once what files of a folder of images are not read."""
    if others:
        files = quantity(sum(others.values()), "file")
        warn_once(root, f"left out are {files} of endings that are not read ({_in_words(others)})")


@functools.cache
def warn_once(folder: Path, what: str) -> None:
    """Warn of something about a folder, once in a process."""
    _log.warning("folder %s: %s", listed([folder.resolve().name]), what)

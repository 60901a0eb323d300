"""The pictures of a design: which train and which test, and whether they are still the same."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from asvit.core.continuing import ELSEWHERE
from asvit.core.files import (
    expanded,
    read_text,
    split_reading,
    with_reading,
    write_bytes,
    write_text,
)
from asvit.core.progress import Tell, image_progress
from asvit.core.tables import csv_text
from asvit.core.threads import in_order
from asvit.data.base import (
    TEST,
    TRAIN,
    VALIDATION,
    LabelledImages,
    Progress,
    content_digest,
    file_digest,
)
from asvit.data.copies import copies_in_words, distinct, divide_apart, kept_apart, some_of
from asvit.data.fractals import FractalDataset
from asvit.data.kinds import GREY, Picture
from asvit.data.sources import are_fractals, fractal_classes, open_dataset, open_whole
from asvit.data.statistics import Look, Survey
from asvit.data.tables import (
    COLUMNS,
    ROOT,
    open_table,
    root_of,
    split_list,
    table_parts,
)
from asvit.designs.stages import PictureFacts
from proxies.text import listed, one_line

logger = logging.getLogger(__name__)

TEST_SHARE = 0.2  # of the pictures
LEAST_TESTED = 2  # pictures that a test needs
_LEAST = 5  # pictures of a class
_FRACTALS, _FRACTAL_SIDE = 60, 64  # generated pictures of a class, and their pixels per side
#: Of generated pictures. Weights of fractals are of the set of the design's seed: with an equal
#: one, they would be of the classes and even of the test pictures.
_FRACTAL_SEED = 2**31 - 1
_FITTED = {"pad": "padded with the mean colour", "squash": "squashed"}
_SAMPLE = 32  # pictures whose size is looked at before all of them are read
_LOOKED_AT, _NEARLY = 16, 8  # pixels of a side; levels of 256 between which one colour is
_UNSAFE = re.compile("[/\0%]")  # in the name of a folder


class _ReadPicture(NamedTuple):
    """A picture that can be read."""

    place: int  # in the set
    look: Look
    digest: str  # SHA-256 of its file
    plain: bool  # whether it is nearly of one colour


class PictureList:
    """The list of the pictures of a design, with part and digest of each.

    Args:
        path: The list, in the run folder.
        source: The folder of pictures, as the user names it; it may end in how to read them.
        seed: Of the pictures that are set aside for the test.
    """

    def __init__(self, path: Path, source: str, seed: int) -> None:
        self.path = path
        self._source, self._reading = split_reading(source)
        self._seed = seed
        #: Place, size and times of a file, of which one differs if its content does -> its digest.
        self._seen: dict[tuple[int, ...], str] = {}
        self._reported = set[str]()  # pictures to test on that had changed

    def make(self, tell: Tell) -> PictureFacts:
        """Read every picture, set some of each class aside, and write the list."""
        images = open_whole(with_reading(expanded(self._source).resolve(), self._reading))
        check_enough(images)  # before all of them are read
        files, unreadable = self._read(images, tell)
        readable = [file.place for file in files]
        labels, names = images.labels[readable], [images.name(index) for index in readable]
        groups = np.unique([file.digest for file in files], return_inverse=True)[1]
        _check_classes(labels, groups, images.classes)
        equal, lines = copies_in_words(names, labels, groups)
        for line in lines:
            logger.warning("%s", line)
        if images.parts is None:
            rest, aside = divide_apart(labels, groups, TEST_SHARE, self._seed)
            part = {**dict.fromkeys(rest.tolist(), TRAIN), **dict.fromkeys(aside.tolist(), TEST)}
        else:
            parts = images.parts[readable]
            part = {place: parts[place] for place in kept_apart(parts, labels, groups)}
        _check_parts(labels, part, images.classes)
        content = csv_text(
            [COLUMNS]
            + [
                [names[at], images.classes[labels[at]], part[at], files[at].digest]
                for at in sorted(part)
            ]
        )
        self._write(content)
        count, trained = Counter(part.values()), [at for at in part if part[at] != TEST]
        shown = Survey([files[at].look for at in trained])
        plain = [names[at] for at in sorted(part) if files[at].plain]
        if plain:
            words = "%d picture(s) are nearly of one colour and may show nothing: %s"
            logger.warning(words, len(plain), some_of(plain))
        if shown.ground:
            logger.warning("%s", shown.transparent_in_words(shown.ground))
        if shown.fit != "crop":
            how = _FITTED[shown.fit]
            logger.warning("%s: networks see them whole, %s", shown.hidden_in_words, how)
        return PictureFacts(
            digest=_digest(content),
            classes=images.classes,
            train=len(trained),
            validation=count[VALIDATION],
            test=count[TEST],
            sizes=_sizes(labels[trained]),
            side=_side([file.look for file in files], shown.fit),
            fit=shown.fit,
            ground=shown.ground,
            channels=images.kind.channels,
            pixels=images.kind.stored,
            unreadable=unreadable,
            equal=equal,
            plain=plain,
        )

    def _read(
        self, images: LabelledImages, tell: Tell
    ) -> tuple[Sequence[_ReadPicture], Mapping[str, str]]:
        """The pictures that can be read; and the names of the others, with what is wrong."""
        pictures, unreadable = list[_ReadPicture](), dict[str, str]()
        progress, whole = image_progress(tell), images.on(None)

        def read(index: int) -> _ReadPicture | str:
            name = images.name(index)
            try:
                name.encode()  # as the list has it
                picture = whole.picture(index)
                look, plain = Look.at(picture), _is_plain(picture)
                return _ReadPicture(index, look, self._digest_of(images, index), plain)
            except UnicodeEncodeError:
                return "its name is not UTF-8; rename it"
            except (ValueError, OSError) as error:
                why = str(error.__cause__ or error)
                return one_line(why.replace(str(images.path(index)), name))

        for index, result in enumerate(in_order(read, range(len(images)))):
            if isinstance(result, str):
                unreadable[images.name(index)] = result
            else:
                pictures.append(result)
            progress(index + 1, len(images))
        if unreadable:
            words = "%d picture(s) cannot be read and are left out: %s"
            logger.warning(words, len(unreadable), in_words(unreadable))
        return pictures, unreadable

    @property
    def tested(self) -> LabelledImages:
        """The pictures that are set aside for the test."""
        return open_table(self.path, TEST, reading=self._reading)

    def changed(self, *parts: str, root: Path | None = None) -> Mapping[str, str]:
        """Pictures of these parts that are not as they were listed, and why."""
        changed = dict[str, str]()
        for part, images in table_parts(self.path, root=root).items():
            for index in range(len(images)) if part in parts else ():
                try:
                    if self._digest_of(images, index) != images.digest(index):
                        changed[images.name(index)] = "its content has changed"
                except FileNotFoundError:
                    changed[images.name(index)] = "it is missing"
                except OSError as error:
                    why = error.strerror or type(error).__name__
                    changed[images.name(index)] = f"it cannot be read: {why}"
        return changed

    def _digest_of(self, images: LabelledImages, index: int) -> str:
        """SHA-256 of a picture; its file is not read again while it stays as it is."""
        path = images.path(index)
        if path is None:
            return content_digest(images.content(index))
        about = path.stat()
        state = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        if state not in self._seen:
            self._seen[state] = file_digest(path)
        return self._seen[state]

    def check(self, digest: str, *, training: bool) -> None:
        """Refuse another list, and other pictures to train on where there is still ``training``.

        Pictures to test on that have changed are named once: the test leaves them out.
        """
        first, content = self._content(digest)
        if first and first != self._root_line:  # the run or the pictures have moved
            self._write(content)
        if training and (changed := self.changed(TRAIN, VALIDATION)):
            raise ValueError(
                f"{len(changed)} picture(s) to train on are not what the design in "
                f"{self.path.parent} began with: {in_words(changed)}; put them back, {ELSEWHERE}"
            )
        changed = self.changed(TEST)
        new = {name: why for name, why in changed.items() if name not in self._reported}
        if new:
            self._reported.update(new)
            logger.warning(
                "%d picture(s) to test on are not what the design began with, and are left out of "
                "the test unless they are put back: %s",
                len(new),
                in_words(new),
            )

    def check_moved(self, digest: str) -> None:
        """Check that the pictures, now in another folder, are those of the list."""
        self._content(digest)
        root = root_of(expanded(self._source)).resolve()
        if changed := self.changed(TRAIN, VALIDATION, TEST, root=root):
            raise ValueError(
                f"run folder {self.path.parent} was started with other pictures than those in "
                f"{self._source}: {in_words(changed)}; {ELSEWHERE}"
            )

    def _content(self, digest: str) -> tuple[str, str]:
        """The line of the list that names a folder, and the rest, which has this digest."""
        there = self.path.exists()
        first, content = split_list(read_text(self.path)) if there else ("", "")
        if _digest(content) != digest:
            what = "is not the list that the design began with" if there else "is missing"
            raise ValueError(f"{self.path} {what}; restore it from a copy, {ELSEWHERE}")
        return first, content

    def _write(self, content: str) -> None:
        """Write the list below the line that names the folder of pictures."""
        write_text(self.path, self._root_line + content)

    @property
    def _root_line(self) -> str:
        """The first line, which names the folder of pictures, relative to that of the list."""
        images = root_of(expanded(self._source)).resolve()
        root = os.path.relpath(images, self.path.parent.resolve())
        return f"{ROOT}{quote(root, errors='surrogateescape')}\n"


def is_generated(data: str) -> bool:
    """Whether the pictures are no files of their own, so that a design writes them first.

    So are ``digits`` and ``fractal:CLASSES``, for a trial, and those of libraries and archives.
    """
    name, _ = split_reading(data)
    return name == "digits" or are_fractals(name) or _is_library(name)


def _is_library(name: str) -> bool:
    return name.partition(":")[0] in ("torchvision", "hf", "wds")


def open_pictures(data: str) -> LabelledImages:
    """The pictures of a folder, or generated ones."""
    name, reading = split_reading(data)
    if not is_generated(data):
        return open_whole(data)
    if reading and reading != GREY:
        raise ValueError(
            f"{data}: pictures that are made here are 8-bit RGB; leave :{reading} out"
        )
    if _is_library(name):
        return open_whole(name)
    if name == "digits":
        return open_dataset(data)
    return FractalDataset(fractal_classes(name), _FRACTALS, _FRACTAL_SIDE, seed=_FRACTAL_SEED)


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
        logger.warning(words, len(unreadable), listed(unreadable))
    os.sync()  # once: a power cut could leave empty files, and to wait for each takes long


def sampled_facts(images: LabelledImages, *, side: int) -> PictureFacts:
    """About what :meth:`PictureList.make` would give, from a few of the pictures.

    ``side`` stands for theirs where none of these can be read.
    """
    looks = list[Look]()
    for index in range(0, len(images), -(-len(images) // _SAMPLE)):
        with suppress(ValueError):  # the whole list names those that cannot be read
            looks.append(Look.at(images.picture(index)))
    fit = Survey(looks).fit
    parts = images.parts
    labels, share = images.labels, 1 - TEST_SHARE
    if parts is not None:
        labels, share = labels[parts != TEST], 1.0
    return PictureFacts(
        classes=images.classes,
        train=round(share * len(labels)),
        validation=0 if parts is None else int((parts == VALIDATION).sum()),
        sizes=[round(share * size) for size in _sizes(labels)],
        side=_side(looks or [Look(side, side)], fit),
        fit=fit,
        channels=images.kind.channels,
    )


def check_enough(images: LabelledImages) -> None:
    """Check that each class has enough pictures if all can be read and are distinct."""
    _check_classes(images.labels, np.arange(len(images)), images.classes)
    if images.parts is not None:
        _check_parts(images.labels, dict(enumerate(images.parts)), images.classes)


def _is_plain(picture: Picture) -> bool:
    """Whether a picture, its transparency included, is nearly of one colour."""
    if isinstance(picture, Image.Image):
        pixels = np.asarray(picture.resize((_LOOKED_AT, _LOOKED_AT), Image.Resampling.BOX))
        return bool(np.ptp(pixels.reshape(_LOOKED_AT**2, -1), axis=0).max() <= _NEARLY)
    return bool(np.ptp(picture) == 0)


def in_words(pictures: Mapping[str, str]) -> str:
    """A few pictures with what is wrong with each."""
    return some_of([f"{name} ({why})" for name, why in pictures.items()])


def _side(looks: Sequence[Look], fit: str) -> int:
    """The median side that networks see of pictures, in pixels."""
    seen = min if fit == "crop" else max
    return int(statistics.median(seen(look.width, look.height) for look in looks))


def _sizes(labels: NDArray[np.int64]) -> list[int]:
    """Pictures of each class."""
    sizes: list[int] = np.unique(labels, return_counts=True)[1].tolist()
    return sizes


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _check_classes(labels: Any, groups: Any, classes: Sequence[str]) -> None:
    """Check that each class has enough pictures, not counting those that other classes have."""
    own = labels[distinct(labels, groups)]
    for label, name in enumerate(classes):
        if (there := int((own == label).sum())) < _LEAST:
            copied = int((labels == label).sum()) > there
            raise ValueError(
                f"class {name!r} has {there} readable picture(s)"
                f"{' without copies and those of other classes' * copied}; to train, validate "
                f"and test it needs {_LEAST} or more"
            )


def _check_parts(labels: Any, part: Mapping[int, str], classes: Sequence[str]) -> None:
    """Check that there are pictures to train on of each class, and some to test on."""
    to_train = Counter(int(labels[place]) for place, name in part.items() if name == TRAIN)
    for label, name in enumerate(classes):
        if (there := to_train[label]) < _LEAST - 1:
            raise ValueError(
                f"class {name!r} has {there} readable picture(s) to train on; it needs "
                f"{_LEAST - 1} or more"
            )
    if (there := sum(name == TEST for name in part.values())) < LEAST_TESTED:
        raise ValueError(
            f"there are {there} readable picture(s) to test on, without copies and those of "
            f"several classes; a test needs {LEAST_TESTED} or more"
        )

"""Labelled sets of images: views of them, balanced choices, and reading many beside each other."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence, Sized
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from asvit.core.preparing_settings import BLACK
from asvit.core.threads import in_order, or_reason
from asvit.data.kinds import PICTURES, ImageKind, Picture
from asvit.data.texts import composed
from proxies.text import listed

T = TypeVar("T")

_log = logging.getLogger(__name__)

PARTS = TRAIN, VALIDATION, TEST = "train", "validation", "test"

# Called with (done, total) as images are generated or read.
Progress = Callable[[int, int], None]
Transform = Callable[[Any], Any]
Indices = NDArray[np.int64]

HEADERS = 256  # files whose first bytes a thread reads in a row
_MOST_LINES = 100


@dataclass(eq=False, repr=False)
class LabelledImages(Dataset[tuple[Any, int]]):
    """Images with labels: ``dataset[i]`` is (picture, label), as torchvision's datasets do."""

    source: str  # description of the set, for provenance
    classes: tuple[str, ...]  # name of each label, composed
    labels: Indices  # label of each image, known without reading it, ``[len(self)]``
    # Applied to each picture by ``dataset[i]``; None returns the picture.
    transform: Transform | None = field(default=None, kw_only=True)
    # What transparent pictures are laid over, one of ``GROUNDS``; None leaves them transparent.
    ground: str | None = field(default=BLACK, kw_only=True)
    # The part of each image, of ``PARTS``; None for images without parts.
    parts: NDArray[np.object_] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.classes = tuple(map(composed, self.classes))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if not -len(self) <= index < len(self):  # also ends a for loop over the dataset
            raise IndexError(f"image {index} of {len(self)}: {self.source}")
        index %= len(self)
        picture = self.picture(index)
        label = int(self.labels[index])
        return (picture if self.transform is None else self.transform(picture)), label

    @property
    def kind(self) -> ImageKind:
        """What all images have in common, known without decoding them; else a ValueError."""
        return PICTURES

    def on(self, ground: str | None) -> Self:
        """The same images, of which transparent ones are laid over a ground."""
        images = copy(self)
        images.ground = ground
        return images

    def picture(self, index: int) -> Picture:
        """Image ``index``, from 0 to ``len(self) - 1``, as its :attr:`kind` says.

        That is an RGB picture of PIL, or an array ``[H, W, C]`` of the numbers in its file. A
        ValueError names one that cannot be read.
        """
        raise NotImplementedError

    def check(self, index: int) -> None:
        """Check image ``index`` without decoding it: the header of its file, if it has one."""

    def name(self, index: int) -> str:
        """The name of image ``index`` within the set, for messages and digests."""
        return f"image {index}"

    def digest(self, index: int) -> str:
        """SHA-256 of its content in hexadecimal, if it is known without reading; else empty."""
        return ""

    def path(self, index: int) -> Path | None:
        """The file of image ``index``; None where it is not a file of its own."""
        return None

    def stored(self, index: int) -> Path | bytes | None:
        """The file of image ``index``, or what is in it; None where that is not known."""
        return self.path(index)

    @property
    def files(self) -> Sequence[Path]:
        """The files that hold the images, as far as they are known."""
        return [path for path in map(self.path, range(len(self))) if path is not None]


class View(LabelledImages):
    """Images of other sets of one kind and the same classes, in any order.

    ``places`` has the set of each image, and its index there, ``[n, 2]``; the kind is that of the
    first set.
    """

    def __init__(
        self,
        sets: Sequence[LabelledImages],
        places: Indices,
        source: str,
        classes: tuple[str, ...],
        labels: Indices,
        parts: NDArray[np.object_] | None = None,
    ) -> None:
        super().__init__(source, classes, labels, parts=parts)
        self._sets, self._places = sets, places

    def _at(self, index: int) -> tuple[LabelledImages, int]:
        which, place = self._places[index].tolist()
        return self._sets[which], place

    def on(self, ground: str | None) -> Self:
        images = super().on(ground)
        images._sets = [part.on(ground) for part in self._sets]
        return images

    @property
    def kind(self) -> ImageKind:
        return self._sets[0].kind

    def picture(self, index: int) -> Picture:
        images, place = self._at(index)
        return images.picture(place)

    def check(self, index: int) -> None:
        images, place = self._at(index)
        images.check(place)

    def name(self, index: int) -> str:
        images, place = self._at(index)
        return images.name(place)

    def digest(self, index: int) -> str:
        images, place = self._at(index)
        return images.digest(place)

    def path(self, index: int) -> Path | None:
        images, place = self._at(index)
        return images.path(place)

    def stored(self, index: int) -> Path | bytes | None:
        images, place = self._at(index)
        return images.stored(place)

    @property
    def files(self) -> Sequence[Path]:
        return super().files or [file for part in self._sets for file in part.files]


def subset(images: LabelledImages, indices: Indices, what: str) -> View:
    """Some images of a set, in any order, with all its classes; ``what`` says their purpose."""
    places = np.stack([np.zeros_like(indices), indices], axis=1)
    source = f"{images.source}; {len(indices)} of them {what}"
    return View([images], places, source, images.classes, images.labels[indices])


def join(*sets: LabelledImages, parts: Sequence[str] = (), source: str = "") -> View:
    """The images of sets of the same classes, one after the other, as the parts of these names."""
    sizes = [len(images) for images in sets]
    which, own = np.repeat(np.arange(len(sets)), sizes), np.concatenate([*map(np.arange, sizes)])
    return View(
        sets,
        np.stack([which, own], axis=1),
        source or " and ".join(images.source for images in sets),
        sets[0].classes,
        np.concatenate([images.labels for images in sets]),
        np.repeat(np.array(parts, dtype=object), sizes) if parts else None,
    )


def numbered_as(
    images: LabelledImages, classes: tuple[str, ...], source: str = ""
) -> LabelledImages:
    """The images with labels by the order of ``classes``, those of ``source``.

    A ValueError names a class that is not among these.
    """
    if unknown := sorted(set(images.classes) - set(classes)):
        raise ValueError(
            f"class {unknown[0]!r} of {images.source} is missing in {source}; rename or "
            "remove it, or give the part to train on alone"
        )
    if images.classes != classes:
        places = {name: place for place, name in enumerate(classes)}
        label_of = np.array([places[name] for name in images.classes], dtype=np.int64)
        images = copy(images)
        images.classes, images.labels = classes, label_of[images.labels]
    return images


def sets_digest(*parts: LabelledImages) -> str:
    """SHA-256 of kind, classes, labels and names of sets, and of contents where they are known."""
    digest, kind = hashlib.sha256(), parts[0].kind
    if not kind.picture or kind.reading:
        digest.update(f"{kind} {kind.stored}".encode())
    for part in parts:
        digest.update(repr(part.classes).encode())
        digest.update(np.ascontiguousarray(part.labels, dtype="<i8").data)
        lines = [f"{part.name(at)} {part.digest(at)}".rstrip(" ") for at in range(len(part))]
        digest.update("\n".join(lines).encode(errors="surrogateescape"))
    return digest.hexdigest()


def divide(labels: Indices, held_out: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out the same share of every class, at random: indices that stay and others, ascending.

    At least one of a class is held out, and one stays; each label must occur at least twice.
    """
    order, sizes, rank = _by_class(labels, seed)
    wanted = np.clip(np.floor(held_out * sizes + 0.5).astype(np.int64), 1, sizes - 1)
    held = rank < np.repeat(wanted, sizes)
    return np.sort(order[~held]), np.sort(order[held])


def balanced_choice(labels: Indices, count: int, seed: int) -> Indices:
    """Indices ``[count]`` of a random choice, equally many of each class as far as possible.

    They take the classes in turn; a smaller count gives a prefix of a larger one.
    """
    order, _, rank = _by_class(labels, seed)
    return order[np.argsort(rank, kind="stable")][:count]


def balanced_places(labels: Indices, most: int, seed: int) -> list[int]:
    """The same choice of at most so many indices, ascending."""
    places: list[int] = np.sort(balanced_choice(labels, most, seed)).tolist()
    return places


def _by_class(labels: Indices, seed: int) -> tuple[Indices, Indices, Indices]:
    """Indices by class and shuffled within it, size of each class, rank of each in its class."""
    shuffled = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, sizes = np.unique(labels, return_counts=True)
    rank = np.concatenate([np.arange(size) for size in sizes])
    return order, sizes, rank


class Images(Sized, Protocol):
    """Images whose headers can be read, as those of :class:`asvit.data.base.LabelledImages`."""

    def check(self, index: int) -> None:
        """Read the header of an image; a ValueError says why it cannot be read."""

    def name(self, index: int) -> str:
        """The name of an image, for messages."""


def read_each(
    read: Callable[[int], T],
    indices: Sequence[int],
    progress: Progress | None = None,
    *,
    chunk: int = 1,
) -> Iterator[tuple[int, T | str]]:
    """Each index with what ``read`` gives for it, or the text of its ValueError, in order.

    Threads read beside each other, each ``chunk`` in a row.
    """

    def read_some(start: int) -> list[T | str]:
        return [*map(or_reason(read), indices[start : start + chunk])]

    done = 0
    for results in in_order(read_some, range(0, len(indices), chunk)):
        yield from zip(indices[done : done + chunk], results, strict=True)
        done += len(results)
        if progress is not None:
            progress(done, len(indices))


def unreadable_images(
    images: Images, indices: Sequence[int], *, progress: Progress | None = None
) -> list[tuple[str, str]]:
    """Name of each of these images whose header cannot be read, and why."""
    checked = read_each(images.check, indices, progress, chunk=HEADERS)
    return [(images.name(at), why) for at, why in checked if why]


def refuse_unreadable(bad: Sequence[tuple[str, str]], total: int, advice: str = "") -> None:
    """Log why each of these images cannot be read, and raise an error that names them.

    ``bad`` has names and reasons of some of ``total`` images; ``advice`` is beside repairing them.
    """
    if not bad:
        return
    bad = [*dict.fromkeys(bad)]
    do = f"repair or remove {'it' if len(bad) == 1 else 'them'}{advice}"
    names, reasons = zip(*bad, strict=True)
    if len(bad) == 1:
        raise ValueError(f"{reasons[0]}; {do}")
    for reason in reasons[:_MOST_LINES]:
        _log.warning("%s", reason)
    raise ValueError(f"{len(bad)} of {total} images cannot be read; {do}: {listed(names)}")

"""Labelled sets of images, and subsets of them."""

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from asvit.core.preparing_settings import BLACK
from asvit.data.kinds import PICTURES, ImageKind, Picture
from asvit.data.texts import composed
from proxies.messages import first_line

# Called with (done, total) as images are generated or read.
Progress = Callable[[int, int], None]
Transform = Callable[[Any], Any]

# Exceptions of Pillow and its readers for damaged or mislabelled image files.
UNREADABLE = (
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    EOFError,
    IndexError,
    RuntimeError,
    struct.error,
    Image.DecompressionBombError,
)


@contextmanager
def naming(image: str) -> Iterator[None]:
    """Raise errors of reading an image as a ValueError or MemoryError that names it."""
    try:
        yield
    except UNREADABLE as error:
        raise ValueError(f"cannot read {image}: {first_line(error)}") from error
    except MemoryError as error:
        raise MemoryError(f"reading {image}") from error


class Extent(NamedTuple):
    """The file of an image within another one."""

    path: Path
    begin: int  # bytes
    size: int  # bytes


@dataclass(eq=False, repr=False)
class LabelledImages(Dataset[tuple[Any, int]]):
    """Images with labels: ``dataset[i]`` is (picture, label), as torchvision's datasets do."""

    source: str  # description of the set, for provenance
    classes: tuple[str, ...]  # name of each label, composed
    labels: NDArray[np.int64]  # label of each image, known without reading it, ``[len(self)]``
    # Applied to each picture by ``dataset[i]``; None returns the picture.
    transform: Transform | None = field(default=None, kw_only=True)
    # What transparent pictures are laid over, one of ``GROUNDS``; None leaves them transparent.
    ground: str | None = field(default=BLACK, kw_only=True)

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
        """What all images have in common, known without decoding them.

        Raises:
            ValueError: If they are of several kinds.
        """
        return PICTURES

    def on(self, ground: str | None) -> Self:
        """The same images, of which transparent ones are laid over a ground."""
        images = copy(self)
        images.ground = ground
        return images

    def picture(self, index: int) -> Picture:
        """Return image ``index``, from 0 to ``len(self) - 1``, as its :attr:`kind` says.

        That is an RGB picture of PIL, or an array ``[H, W, C]`` of the numbers in its file.

        Raises:
            ValueError: If it cannot be read; the message names it.
        """
        raise NotImplementedError

    def check(self, index: int) -> None:
        """Check image ``index`` without decoding it: the header of its file, if it has one."""

    def name(self, index: int) -> str:
        """Return the name of image ``index`` within the set, for messages and digests."""
        return f"image {index}"

    def identity(self, index: int) -> str:
        """Its name, and its stored content digest if there is one: for digests of sets."""
        return self.name(index)

    def digest(self, index: int) -> str:
        """SHA-256 of its file in hexadecimal, if it is known without reading; else empty."""
        return ""

    def path(self, index: int) -> Path | None:
        """The file of image ``index``; None where it is not a file of its own."""
        return None

    def stored(self, index: int) -> Path | Extent | None:
        """Where the file of image ``index`` is; None where that is not known."""
        return self.path(index)

    @property
    def paths(self) -> Sequence[Path]:
        """Files of all images; none where one is not a file of its own."""
        files = list[Path]()
        for index in range(len(self)):
            if (file := self.path(index)) is None:
                return ()
            files.append(file)
        return tuple(files)


class ImagesOfOthers(LabelledImages):
    """Images of other sets of one kind and the same classes."""

    def _at(self, index: int) -> tuple[LabelledImages, int]:
        """The set that image ``index`` is of, and its index there."""
        raise NotImplementedError

    def picture(self, index: int) -> Picture:
        """Return image ``index``, from its own set."""
        images, place = self._at(index)
        return images.picture(place)

    def check(self, index: int) -> None:
        """Check image ``index`` in its own set."""
        images, place = self._at(index)
        images.check(place)

    def name(self, index: int) -> str:
        """Return its name in its own set."""
        images, place = self._at(index)
        return images.name(place)

    def identity(self, index: int) -> str:
        """Its identity in its own set."""
        images, place = self._at(index)
        return images.identity(place)

    def digest(self, index: int) -> str:
        """Its digest in its own set."""
        images, place = self._at(index)
        return images.digest(place)

    def path(self, index: int) -> Path | None:
        """Its file in its own set."""
        images, place = self._at(index)
        return images.path(place)

    def stored(self, index: int) -> Path | Extent | None:
        """Where its file is in its own set."""
        images, place = self._at(index)
        return images.stored(place)


class ChosenImages(ImagesOfOthers):
    """Some images of a set, in any order, with a source, classes and labels of their own."""

    def __init__(
        self,
        whole: LabelledImages,
        indices: NDArray[np.int64],
        *,
        source: str,
        classes: tuple[str, ...],
        labels: NDArray[np.int64],
    ) -> None:
        super().__init__(source, classes, labels)
        self._whole = whole
        self._indices = indices

    def on(self, ground: str | None) -> Self:
        """As the base does, of the whole set."""
        images = super().on(ground)
        images._whole = self._whole.on(ground)
        return images

    @property
    def kind(self) -> ImageKind:
        """The kind of the whole set, also if none of its images are here."""
        return self._whole.kind

    def _at(self, index: int) -> tuple[LabelledImages, int]:
        return self._whole, int(self._indices[index])


class SubsetImages(ChosenImages):
    """Some images of a set, in any order, with all its classes; ``what`` says their purpose."""

    def __init__(self, whole: LabelledImages, indices: NDArray[np.int64], what: str) -> None:
        super().__init__(
            whole,
            indices,
            source=f"{whole.source}; {len(indices)} of them {what}",
            classes=whole.classes,
            labels=whole.labels[indices],
        )


class JoinedImages(ImagesOfOthers):
    """The images of two sets of the same classes, one after the other."""

    def __init__(self, first: LabelledImages, second: LabelledImages) -> None:
        labels = np.concatenate([first.labels, second.labels])
        super().__init__(f"{first.source} and {second.source}", first.classes, labels)
        self._first, self._second = first, second

    def on(self, ground: str | None) -> Self:
        """As the base does, of both sets."""
        images = super().on(ground)
        images._first, images._second = self._first.on(ground), self._second.on(ground)
        return images

    @property
    def kind(self) -> ImageKind:
        """The kind of the first set."""
        return self._first.kind

    def _at(self, index: int) -> tuple[LabelledImages, int]:
        count = len(self._first)
        return (self._first, index) if index < count else (self._second, index - count)


def check_classes_known(train: LabelledImages, other: LabelledImages) -> None:
    """Check that a part to validate or test on has no other classes than the one to train on."""
    if unknown := sorted(set(other.classes) - set(train.classes)):
        raise ValueError(
            f"class {unknown[0]!r} of {other.source} is missing in {train.source}; rename or "
            "remove it, or give the part to train on alone"
        )


def numbered_as(images: LabelledImages, classes: tuple[str, ...]) -> LabelledImages:
    """The images with labels by the order of ``classes``, which theirs are among.

    Folders are in the order of their names, where "10" is before "2"; archives and libraries have
    orders of their own.
    """
    if images.classes != classes:
        places = {name: place for place, name in enumerate(classes)}
        label_of = np.array([places[name] for name in images.classes], dtype=np.int64)
        images.classes, images.labels = classes, label_of[images.labels]
    return images


def sets_digest(*parts: LabelledImages) -> str:
    """SHA-256 of names, labels and classes of sets, and of the content of images where known.

    Also of their kind, if it is not that of 8-bit RGB pictures.
    """
    digest, kind = hashlib.sha256(), parts[0].kind
    if not kind.picture or kind.reading:
        digest.update(f"{kind} {kind.stored}".encode())
    for part in parts:
        digest.update(repr(part.classes).encode())
        digest.update(np.ascontiguousarray(part.labels, dtype="<i8").data)
        identities = "\n".join(part.identity(index) for index in range(len(part)))
        digest.update(identities.encode(errors="surrogateescape"))
    return digest.hexdigest()


def divide(
    labels: NDArray[np.int64], held_out: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out the same share of every class, at random: indices that stay and others, ascending.

    Of a class of n images ``held_out * n``, rounded, are held out, but at least one, and at least
    one stays. Each label must occur at least twice.
    """
    order, sizes, rank = _by_class(labels, seed)
    wanted = np.clip(np.floor(held_out * sizes + 0.5).astype(np.int64), 1, sizes - 1)
    held = rank < np.repeat(wanted, sizes)
    return np.sort(order[~held]), np.sort(order[held])


def balanced_choice(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Indices ``[count]`` of a random choice, equally many of each class as far as possible.

    They take the classes in turn; a smaller count gives a prefix of a larger one.
    """
    order, _, rank = _by_class(labels, seed)
    return order[np.argsort(rank, kind="stable")][:count]


def _by_class(
    labels: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Indices by class and shuffled within it, size of each class, rank of each in its class."""
    shuffled = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, sizes = np.unique(labels, return_counts=True)
    rank = np.concatenate([np.arange(size) for size in sizes])
    return order, sizes, rank

"""Labelled sets of images: parts of them, balanced choices, and reading many beside each other."""

import hashlib
import io
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self, TypeVar
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from asvit.core.shared_settings import BLACK
from asvit.core.threads import in_order, or_reason
from asvit.data.decoding import as_kind, check_as, kind_in, naming, read_as, read_open
from asvit.data.kinds import CONVERTED, PICTURES, ImageKind, Picture, the_same
from proxies.text import listed, shown

T = TypeVar("T")

_log = logging.getLogger(__name__)

PARTS = TRAIN, VALIDATION, TEST = "train", "validation", "test"

# Called with (done, total) as images are generated or read.
Progress = Callable[[int, int], None]
Indices = NDArray[np.int64]
Texts = NDArray[np.bytes_]  # in one buffer, which processes that load images share
# What a source has of an image: its file, the bytes of one, a picture, or grey pixels [H, W].
Content = Path | bytes | Image.Image | NDArray[np.uint8]

HEADERS = 256  # files whose first bytes a thread reads in a row
_MOST_LINES = 100
_NUMBER = re.compile(r"0*([0-9]+)(?:\.0+)?")  # whole, also as tables of floats have it
# Endings of files that are 8-bit pictures, so that their headers need not be read early. A file
# of another format with such a name is refused when it is read.
_ALWAYS_PICTURES = (".jpg", ".jpeg", ".jfif", ".gif", ".webp", ".avif", ".bmp")


@dataclass(eq=False, repr=False)
class LabelledImages(Dataset[tuple[Any, int]]):
    """Images with labels: ``dataset[i]`` is (picture, label), as torchvision's datasets do.

    A source hands ``read``, which has the content of an image by its place; a set of your own may
    override :meth:`picture` instead.
    """

    source: str  # description of the set, for provenance
    classes: tuple[str, ...]  # name of each label, composed
    labels: Indices  # label of each image, known without reading it, ``[len(self)]``
    read: Callable[[int], Content] | None = None
    names: Texts | None = None  # within the set, for messages and digests; None to number them
    digests: Texts | None = None  # SHA-256 of contents in hexadecimal, empty where not known
    reading: str = ""  # how files are read, one of ``READINGS``; empty for what is in them
    stored_as: str = "pictures"  # "files" where images are files of their own, "bytes" in others
    kept_in: Sequence[Path] = ()  # files that the images are in, for those that are no files
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
        return self.picture(index), int(self.labels[index])

    @cached_property
    def kind(self) -> ImageKind:
        """What all images have in common, from headers alone; else a ValueError names two."""
        if self.reading or self.stored_as == "pictures" or not len(self):
            return CONVERTED.get(self.reading, PICTURES)
        names = [self.name(index) for index in range(len(self))]
        certain = [name.lower().endswith(_ALWAYS_PICTURES) for name in names]
        known = [(names[certain.index(True)], PICTURES)] if any(certain) else []
        rest = [at for at, sure in enumerate(certain) if not sure]

        def own(index: int) -> ImageKind:
            content = self.content(index)
            if isinstance(content, bytes):
                return kind_in(io.BytesIO(content))
            with naming(names[index]), Path(str(content)).open("rb") as file:
                return kind_in(file)

        read = read_each(own, rest[:1] if self.stored_as == "bytes" else rest, chunk=HEADERS)
        known += [(names[index], kind) for index, kind in read if isinstance(kind, ImageKind)]
        return the_same(known, self.source)

    def on(self, ground: str | None) -> Self:
        """The same images, of which transparent ones are laid over a ground."""
        images = copy(self)
        images.ground = ground
        return images

    def content(self, index: int) -> Content:
        """What the source has of image ``index``."""
        return self.picture(index) if self.read is None else self.read(index)

    def picture(self, index: int) -> Picture:
        """Image ``index``, from 0 to ``len(self) - 1``, as its :attr:`kind` says.

        That is an RGB picture of PIL, or an array ``[H, W, C]`` of the numbers in its file. A
        ValueError names one that cannot be read, or that is not what a table says of it.
        """
        with naming(f"{self.name(index)!r} of {self.source}"):
            content = self.content(index)
        digest, kind = self.digest(index), self.kind
        if digest and digest != content_digest(content):
            raise ValueError(f"image {self.name(index)!r} has changed since it was listed")
        if isinstance(content, Path):
            return read_as(content, kind, self.ground)
        with naming(f"{self.name(index)!r} of {self.source}"):
            if isinstance(content, bytes):
                return read_open(io.BytesIO(content), kind, self.ground)
            if isinstance(content, Image.Image):
                return as_kind(content, kind, self.ground)
            if not isinstance(content, np.ndarray):
                raise ValueError(f"it is a {type(content).__name__}, not an image")
        return Image.fromarray(content).convert("RGB") if kind.picture else content[..., None]

    def check(self, index: int) -> None:
        """Check image ``index`` without decoding it: the header of its file, if it has one."""
        if path := self.path(index):
            check_as(path, self.kind)

    def name(self, index: int) -> str:
        """The name of image ``index`` within the set, for messages and digests."""
        return f"image {index}" if self.names is None else unpacked(self.names[index])

    def digest(self, index: int) -> str:
        """SHA-256 of its content in hexadecimal, if it is known without reading; else empty."""
        return "" if self.digests is None else unpacked(self.digests[index])

    def path(self, index: int) -> Path | None:
        """The file of image ``index``; None where it is not a file of its own."""
        return Path(str(self.content(index))) if self.stored_as == "files" else None

    @property
    def files(self) -> Sequence[Path]:
        """The files that hold the images, as far as they are known."""
        own = [path for path in map(self.path, range(len(self))) if path is not None]
        return own or self.kept_in


def content_digest(content: Content) -> str:
    """SHA-256 of a file, of bytes or of pixels, in hexadecimal."""
    if isinstance(content, Path):
        return file_digest(content)
    data = content if isinstance(content, bytes) else content.tobytes()
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(
    root: Path,
    names: Iterable[str],
    source: str,
    classes: tuple[str, ...],
    labels: Indices,
    reading: str,
) -> LabelledImages:
    """Labelled images, each in a file below ``root``, such as ``CLASS/image.jpg``."""
    own = packed(names)
    read = partial(_below, root, own)
    return LabelledImages(source, classes, labels, read, own, reading=reading, stored_as="files")


def _below(root: Path, names: Texts, index: int) -> Path:
    return root / unpacked(names[index])


def subset(images: LabelledImages, indices: Indices, what: str) -> LabelledImages:
    """Some images of a set, in any order, with all its classes; ``what`` says their purpose."""
    return _view([images], indices, f"{images.source}; {len(indices)} of them {what}")


def join(*sets: LabelledImages, parts: Sequence[str] = (), source: str = "") -> LabelledImages:
    """The images of sets of the same classes, one after the other, as the parts of these names."""
    sizes = [len(images) for images in sets]
    source = source or " and ".join(images.source for images in sets)
    whole = _view(sets, np.arange(sum(sizes)), source)
    whole.parts = np.repeat(np.array(parts, dtype=object), sizes) if parts else None
    return whole


def _view(sets: Sequence[LabelledImages], places: Indices, source: str) -> LabelledImages:
    """Images of sets of one kind and the same classes, by their places in all of these."""
    forms = {images.stored_as for images in sets}
    view = LabelledImages(
        source,
        sets[0].classes,
        np.concatenate([images.labels for images in sets])[places],
        partial(_content_of, sets, np.cumsum([0, *map(len, sets)]), places),
        np.concatenate([_each(images, "name") for images in sets])[places],
        reading=sets[0].reading,
        stored_as=min(forms, key=["pictures", "bytes", "files"].index),
        kept_in=[file for images in sets for file in images.kept_in],
        ground=sets[0].ground,
    )
    if any(images.digests is not None for images in sets):
        view.digests = np.concatenate([_each(images, "digest") for images in sets])[places]
    view.__dict__["kind"] = sets[0].kind  # of all images, not of those that happen to be here
    return view


def _each(images: LabelledImages, what: str) -> Texts:
    known: Texts | None = getattr(images, f"{what}s")
    return packed(map(getattr(images, what), range(len(images)))) if known is None else known


def _content_of(
    sets: Sequence[LabelledImages], starts: Indices, places: Indices, index: int
) -> Content:
    place = int(places[index])
    which = int(np.searchsorted(starts, place, side="right")) - 1
    return sets[which].content(place - int(starts[which]))


def numbered_as(
    images: LabelledImages, classes: tuple[str, ...], source: str = ""
) -> LabelledImages:
    """The images with labels by the order of ``classes``, those of ``source``."""
    if unknown := sorted(set(images.classes) - set(classes)):
        raise ValueError(
            f"class {unknown[0]!r} of {images.source} is missing in {source}; rename or "
            "remove it, or give the part to train on alone"
        )
    if images.classes != classes:
        label_of = np.array([classes.index(name) for name in images.classes], dtype=np.int64)
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


# Names


def composed(name: str) -> str:
    """``name`` in the form of Unicode (NFC) that does not depend on the system that stored it."""
    return normalize("NFC", name)


def check_apart(names: Iterable[str], where: object) -> None:
    """Refuse classes whose names differ in capitals, spaces or the form of a number alone.

    Letters alone, as of handwriting, may be capitals beside others.
    """
    seen = dict[str, str]()
    for name in names:
        words = " ".join(name.split())
        number = _NUMBER.fullmatch(words)
        form = number[1] if number else words if len(words) == 1 else words.casefold()
        if seen.setdefault(form, name) != name:
            raise ValueError(
                f"{where} has the classes {shown(seen[form])} and {shown(name)}, which differ in "
                "capitals, spaces or the form of a number alone; write them alike, or rename one"
            )


def packed(texts: Iterable[str]) -> Texts:
    """Texts without zeros in one buffer."""
    return np.array([text.encode(errors="surrogatepass") for text in texts], dtype=np.bytes_)


def unpacked(text: np.bytes_) -> str:
    """One of these texts."""
    return text.decode(errors="surrogatepass")


# Choices


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


def _by_class(labels: Indices, seed: int) -> tuple[Indices, Indices, Indices]:
    """Indices by class and shuffled within it, size of each class, rank of each in its class."""
    shuffled = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, sizes = np.unique(labels, return_counts=True)
    rank = np.concatenate([np.arange(size) for size in sizes])
    return order, sizes, rank


# Reading many


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


def read_all(
    images: LabelledImages,
    read: Callable[[int], T],
    places: Sequence[int],
    progress: Progress | None = None,
) -> Iterator[tuple[int, T]]:
    """Each of these images with what ``read`` gives for it, in order.

    A ValueError at the end names all that cannot be read.
    """
    bad = list[tuple[str, str]]()
    for place, result in read_each(read, places, progress):
        if isinstance(result, str):
            bad.append((images.name(place), result))
        else:
            yield place, result
    refuse_unreadable(bad, len(places))


def unreadable_images(
    images: Any, indices: Sequence[int], progress: Progress | None = None
) -> list[tuple[str, str]]:
    """Name of each of these images whose header cannot be read, and why."""
    checked = read_each(images.check, indices, progress, chunk=HEADERS)
    return [(images.name(at), why) for at, why in checked if why]


def refuse_unreadable(bad: Sequence[tuple[str, str]], total: int) -> None:
    """Log why each of these images cannot be read, and raise an error that names them.

    ``bad`` has names and reasons of some of ``total`` images.
    """
    bad = [*dict.fromkeys(bad)]
    if len(bad) == 1:
        raise ValueError(f"{bad[0][1]}; repair or remove it")
    for _, reason in bad[:_MOST_LINES]:
        _log.warning("%s", reason)
    if bad:
        names = listed(name for name, _ in bad)
        raise ValueError(
            f"{len(bad)} of {total} images cannot be read; repair or remove them: {names}"
        )

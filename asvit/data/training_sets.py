"""Training and validation images, from one line of text."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asvit.core.console import quantity
from asvit.core.files import expanded, split_reading
from asvit.data.base import (
    Extent,
    JoinedImages,
    LabelledImages,
    Progress,
    SubsetImages,
    balanced_choice,
    check_classes_known,
    numbered_as,
    sets_digest,
)
from asvit.data.copies import copies_in_words, distinct, divide_apart, equal_files, twins
from asvit.data.files import FolderDataset, ImageFiles
from asvit.data.fractals import FractalDataset
from asvit.data.idx import IdxImages, IdxParts, idx_parts
from asvit.data.kinds import GREY, PICTURES, ImageKind, the_same
from asvit.data.layouts import TEST, TRAIN, VALIDATION, read_layout
from asvit.data.libraries import open_hub_parts, open_torchvision_test
from asvit.data.shards import SHARDS, ShardedDataset
from asvit.data.sources import DOWNLOAD, are_fractals, fractal_classes, open_dataset
from asvit.data.store import cache_folder
from asvit.data.tables import ListedDataset, ListedParts, has_part, is_table
from proxies.text import listed, one_line

_log = logging.getLogger(__name__)

_PER_CLASS = (100, 10)  # default numbers of fractals for training and validation

_TRAINED, _VALIDATED = "for training", "for validation"  # words for the two parts

_Pair = tuple[LabelledImages, LabelledImages | None]
_Counts = Mapping[str, int | None]  # by what the images are for


@dataclass(frozen=True, eq=False)
class TrainingSets:
    """Training and validation images of the same classes, disjoint unless asked for otherwise."""

    train: LabelledImages  # images to train on
    validation: LabelledImages  # images to validate with, of the same kind
    classes: tuple[str, ...]  # name of each label
    # Descriptions of the parts (``source``, ``validation``), and a SHA-256 of the names, labels
    # and classes of their images (``digest``), and of their content where a table has it. Equal
    # digests mean equal sets, unless the content of another file changed.
    provenance: Mapping[str, str]

    @property
    def kind(self) -> ImageKind:
        """The kind of all images."""
        return self.train.kind

    def on(self, ground: str) -> "TrainingSets":
        """The same sets, their transparent pictures laid over a ground, one of ``GROUNDS``."""
        return replace(self, train=self.train.on(ground), validation=self.validation.on(ground))


def open_training_sets(
    spec: str,
    *,
    validation: str | None = None,
    held_out: float = 0.1,
    image_size: int,
    seed: int,
    train_images: int | None = None,
    validation_images: int | None = None,
    classes: int | None = None,
    train_on_validation: bool = False,
    progress: Progress | None = None,
    quiet: bool = False,
) -> TrainingSets:
    """Open the training and validation images that ``spec`` names.

    If a source has a validation or test part, that one is used for validation; otherwise the same
    share of every class is held out. Fractals are generated and cached first; validation takes
    later instances of the same classes.

    Args:
        spec: ``FOLDER`` with class folders, or with ``train`` (or ``training``) and ``val`` (or
            ``validation``, ``valid``, ``dev``, ``eval``, ``test``, ``testing``) that contain them,
            in any case, or with IDX files; ``TABLE.csv``;
            ``wds:PATTERN``, ``torchvision:NAME``, ``hf:NAME``, ``digits``, ``fractal`` or
            ``fractal:CLASSES``.
            Stored images may be followed by how to read them, as in ``FOLDER:grey``.
        validation: A folder of the same classes to validate with instead, or ``wds:PATTERN``; of a
            folder with ``train`` and ``val`` the latter. Its files are read as those of ``spec``
            unless it ends in a reading of its own.
        held_out: Share of the images that is held out where there is no validation part.
        image_size: Pixels per side of fractals.
        seed: Seed of the division and choice of images, and of the endless set of fractals.
        train_images: Number of training images, balanced over the classes; by default all, and 100
            fractals per class.
        validation_images: The same for validation; by default all, and 10 fractals per class.
        classes: Required number of classes; for ``fractal`` the number to generate.
        train_on_validation: Whether the images for validation are among those for training, too,
            all that were held out, however few are asked for.
        progress: Called with the number of fractals that are ready, or of files that were compared
            with each other, and their total.
        quiet: Whether to name no copies, and to look for none in parts that are given.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out}; use a share above 0 and below 1")
    if seed < 0:
        raise ValueError(f"seed {seed}; use 0 or more")
    counts = {_TRAINED: train_images, _VALIDATED: validation_images}
    for what, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{count} images {what} were requested; use 1 or more")
    if are_fractals(spec):
        if validation is not None:
            raise ValueError(f"{spec!r} has images for validation; leave {validation!r} out")
        number = fractal_classes(spec, classes)
        if number < 2:
            raise ValueError(f"training needs two classes or more, got {number} fractal classes")
        train, other = _fractals(number, counts, image_size, seed, progress)
        more = other
    else:
        train, stored = _parts(spec, validation)
        _check_classes(train, classes)
        parts = (train, stored) if stored is not None else None
        train, other = parts or _divided(train, held_out, seed, progress, quiet=quiet)
        check_classes_known(train, other)
        if (missing := sorted(set(train.classes) - set(other.classes))) and not quiet:
            names = listed(map(repr, missing))
            _log.warning("no image to validate on has the class %s: %s", names, other.source)
        other = numbered_as(other, train.classes)
        train = _balanced(train, train_images, seed, _TRAINED)
        other = _balanced(more := other, validation_images, seed, _VALIDATED)
        if parts and not train_on_validation and not quiet:
            _warn_of_copies(train, other, progress)
    if len(train) < len(train.classes):
        raise ValueError(
            f"{quantity(len(train), 'image')} for training, but {len(train.classes)} classes, "
            f"each of which needs one: {train.source}"
        )
    _check_each_class(train, other)
    if train_on_validation:
        train = JoinedImages(train, more)
    the_same([(part.source, part.kind) for part in (train, other)], "training")
    provenance = {"source": train.source, "validation": other.source}
    provenance["digest"] = sets_digest(train, other)
    return TrainingSets(train, other, train.classes, provenance)


def _check_each_class(train: LabelledImages, other: LabelledImages) -> None:
    """Raise a ValueError for a class with images to validate alone; name those without any."""
    unseen = np.setdiff1d(np.arange(len(train.classes)), train.labels)
    if validated := np.intersect1d(unseen, other.labels).tolist():
        raise ValueError(
            f"class {train.classes[validated[0]]!r} has no image for training, but some for "
            f"validation; move some, or leave the class out: {train.source}"
        )
    if unseen.size:
        names = listed(repr(train.classes[label]) for label in unseen.tolist())
        _log.warning("no image has the class %s: %s", names, train.source)


def open_test_part(spec: str, reading: str = "") -> LabelledImages:
    """Open the images of a folder, a table or archives that a network is to be tested on.

    Of ``train``, ``val`` and ``test`` it is the last that is there.

    Args:
        spec: ``FOLDER`` with class folders, or with ``train`` and others that contain them;
            ``TABLE.csv``; or ``wds:PATTERN``. It may end in a reading.
        reading: How files are read where it does not.
    """
    spec, own = split_reading(spec)
    if spec.startswith(SHARDS):
        return ShardedDataset(spec.removeprefix(SHARDS), reading=own or reading)
    path, reading = expanded(spec), own or reading
    if is_table(path):
        others = (part for part in (TEST, VALIDATION) if has_part(path, part))
        return ListedDataset(path, next(others, TRAIN), reading=reading)
    if idx := idx_parts(path):
        return IdxImages([*idx.values()][-1], reading=reading)
    layout = read_layout(path)
    layout.warn_of_unlabelled()
    folder = layout.parts[-1] if layout.parts else layout.folder
    return FolderDataset(folder, reading=reading, partial=True)


def open_parted(path: Path, *, reading: str = "") -> "FolderParts":
    """Open the images of all parts of a folder of pictures or of IDX files, or of a table."""
    if is_table(path):
        return ListedParts(path, reading=reading)
    opened = IdxParts if idx_parts(path) else PartedPictures
    return opened(path, reading=reading)


class PartedPictures(ImageFiles):
    """The pictures of a folder of classes, or of a layout of ``train``, ``val`` and ``test``.

    ``parts`` has the part of each picture; None if the folder has no parts. The validation part is
    also the test if there is no other.
    """

    parts: NDArray[np.object_] | None = None  # "train", "validation" or "test" of each

    def __init__(self, root: Path, *, reading: str = "") -> None:
        layout = read_layout(root)
        if len(layout.parts) == 1 or (layout.parts and layout.train is None):
            raise ValueError(layout.in_two())
        layout.warn_of_unlabelled()
        places = [layout.folder]
        if layout.parts:
            places = [*dict.fromkeys((*layout.parts[:2], layout.parts[-1]))]
            parts = [TRAIN] + [VALIDATION] * (len(places) - 2) + [TEST]
        folders = [FolderDataset(path, partial=at > 0) for at, path in enumerate(places)]
        for folder in folders[1:]:
            check_classes_known(folders[0], folder)
            numbered_as(folder, folders[0].classes)
        if layout.parts:
            each = [len(folder) for folder in folders]
            self.parts = np.repeat(np.array(parts, dtype=object), each)
        names = (
            "/".join([*folder.root.relative_to(root).parts, folder.name(index)])
            for folder in folders
            for index in range(len(folder))
        )
        super().__init__(
            root,
            names,
            reading=reading,
            source=folders[0].source,
            classes=folders[0].classes,
            labels=np.concatenate([folder.labels for folder in folders]),
        )


class LibraryParts(JoinedImages):
    """The images of a set of another library or of archives, with the part of each.

    Args:
        spec: ``torchvision:NAME``, ``hf:NAME`` or ``wds:PATTERN``.
    """

    parts: NDArray[np.object_] | None = None  # "train" or "test" of each

    def __init__(self, spec: str) -> None:
        train, other = _parts(spec, None)
        if other is None:
            other = SubsetImages(train, np.arange(0), "for a test")
        else:
            check_classes_known(train, other)
            numbered_as(other, train.classes)
            self.parts = np.repeat(np.array([TRAIN, TEST], dtype=object), [len(train), len(other)])
        super().__init__(train, other)


#: Images below a folder, with their parts; and all images that may have parts.
FolderParts = PartedPictures | IdxParts | ListedParts
PartedImages = FolderParts | LibraryParts


def class_count(spec: str) -> int | None:
    """Number of classes of a training on the images that ``spec`` names.

    None if it has none: for noise, for fractals without a number, and for a folder without
    class folders.
    """
    if spec in ("fractal", "gaussian"):
        return None
    if are_fractals(spec):
        return fractal_classes(spec)
    classes = len(_trained_on(spec).classes)
    return classes if classes > 1 else None


def channel_count(spec: str) -> int:
    """Channels of the images that ``spec`` names: 3 of all that are made here, or are pictures."""
    name, reading = split_reading(spec)
    if name == "digits" or name.partition(":")[0] in ("fractal", "gaussian", "torchvision"):
        return 1 if reading == GREY else PICTURES.channels
    return _trained_on(spec).kind.channels


def _trained_on(spec: str) -> LabelledImages:
    """The stored images that a training on ``spec`` trains on, without their division."""
    library = spec.partition(":")[0] in {"torchvision", "hf"}
    return open_dataset(spec) if library else _parts(spec, None)[0]


def _fractals(
    classes: int, counts: _Counts, image_size: int, seed: int, progress: Progress | None
) -> Iterator[LabelledImages]:
    """Both parts of an endless set; validation has the instances after those for training."""
    first = 0
    for (what, count), default in zip(counts.items(), _PER_CLASS, strict=True):
        size = classes * default if count is None else count
        each = -(-size // classes)
        part = FractalDataset(
            classes, each, image_size, seed=seed, first=first, cache=cache_folder()
        )
        part.prepare(progress=progress)
        first += each
        # The order takes the classes in turn, so a prefix is balanced.
        yield SubsetImages(part, np.arange(size), what) if size < len(part) else part


def _parts(spec: str, validation: str | None) -> _Pair:
    """Stored images for training, and for validation if there are any."""
    whole = spec
    spec, reading = split_reading(spec)
    kind, _, rest = spec.partition(":")
    name, download = rest.removesuffix(DOWNLOAD), rest.endswith(DOWNLOAD)
    if spec == "gaussian":
        raise ValueError("'gaussian' is noise without classes; use e.g. 'fractal' or a folder")
    folder, alone = expanded(spec), validation is not None
    train: LabelledImages
    other: LabelledImages | None
    if kind == "hf" and name and not alone:
        return open_hub_parts(name, download=download, reading=reading)
    if kind == "torchvision" and name and not alone:
        test = open_torchvision_test(name, download=download, reading=reading)
        return open_dataset(whole), test
    if kind in {"torchvision", "hf"} or spec == "digits" or not spec or not folder.is_dir():
        train = open_dataset(whole)
        listed = isinstance(train, ListedDataset) and has_part(folder, VALIDATION)
        other = ListedDataset(folder, VALIDATION, reading=reading) if listed else None
    else:
        train, other = _folders(folder, alone=alone, reading=reading)
    if validation is not None:
        name, own = split_reading(validation)
        if name.startswith(SHARDS):
            other = ShardedDataset(name.removeprefix(SHARDS), reading=own or reading)
        elif idx := idx_parts(expanded(name)):
            other = IdxImages([*idx.values()][-1], reading=own or reading)
        else:
            layout = read_layout(expanded(name))
            place = layout.others[0] if layout.others else layout.folder
            other = FolderDataset(place, reading=own or reading, partial=True)
    return train, other


def _folders(folder: Path, *, alone: bool, reading: str) -> _Pair:
    """A folder of classes, or of training and validation parts.

    ``alone`` are those to train on where others to validate on are given.
    """
    if idx := idx_parts(folder):
        first, *rest = (IdxImages(file, reading=reading) for file in idx.values())
        return first, None if alone or not rest else rest[0]
    layout = read_layout(folder)
    if not layout.parts:
        return FolderDataset(layout.folder, reading=reading), None
    if layout.train is None or not (alone or layout.others):
        raise ValueError(layout.in_two())
    layout.warn_of_unlabelled()
    train = FolderDataset(layout.train, reading=reading)
    if alone:
        return train, None
    return train, FolderDataset(layout.others[0], reading=reading, partial=True)


def _divided(
    images: LabelledImages, held_out: float, seed: int, progress: Progress | None, *, quiet: bool
) -> tuple[LabelledImages, LabelledImages]:
    """Hold out a share of the images, on whose copies nothing is trained."""
    count = len(images)
    groups = _equal(images, progress)
    if len(np.unique(groups)) < count and not quiet:
        names = [images.name(index) for index in range(count)]
        for warning in copies_in_words(names, images.labels, groups):
            _log.warning("%s", warning)
    own = images.labels[distinct(images.labels, groups)]
    sizes = [(int((own == label).sum()), int(label)) for label in np.unique(images.labels)]
    size, lonely = min(sizes)
    if size < 2:
        what = "one image" if size else "no image that is in this class alone"
        raise ValueError(
            f"class {images.classes[lonely]!r} has {what}, which cannot be divided: add images to "
            f"it or give a folder to validate with ({one_line(images.source)})"
        )
    stay, held = divide_apart(images.labels, groups, held_out, seed)
    return SubsetImages(images, stay, _TRAINED), SubsetImages(images, held, _VALIDATED)


def _equal(images: LabelledImages, progress: Progress | None) -> NDArray[np.int64]:
    """A number for each image, equal for stored images of equal content.

    Those of other libraries may be decoded or downloaded ones, and are taken for different.
    """
    if digests := _digests(images):
        return np.unique(digests, return_inverse=True)[1]
    files = _files(images)
    return equal_files(files, progress=progress) if files else np.arange(len(images))


def _digests(images: LabelledImages) -> Sequence[str]:
    """The SHA-256 of all images; none where that of one is not known."""
    digests = [images.digest(index) for index in range(len(images))]
    return digests if all(digests) else ()


def _files(images: LabelledImages) -> Sequence[Path | Extent]:
    """Where the files of all images are; none where that of one is not known."""
    files = list[Path | Extent]()
    for index in range(len(images)):
        if (file := images.stored(index)) is None:
            return ()
        files.append(file)
    return files


def _warn_of_copies(
    train: LabelledImages, other: LabelledImages, progress: Progress | None
) -> None:
    """Warn of images in a given part to validate with that are also trained on."""
    if copies := _copies(train, other, progress):
        place, twin = min(copies.items())
        _log.warning(
            "%d of %d images for validation are also among those to train on (%s is %s there), so "
            "the accuracy is too high; remove them from one of the parts",
            *(len(copies), len(other)),
            *(one_line(name, most=200) for name in (other.name(place), train.name(twin))),
        )


def _copies(
    train: LabelledImages, other: LabelledImages, progress: Progress | None
) -> dict[int, int]:
    """Places of images to validate with of which there is a copy to train on, and its place."""
    digests = [_digests(part) for part in (train, other)]
    if all(digests):
        place_of = {digest: place for place, digest in enumerate(digests[0])}
        return {at: place_of[digest] for at, digest in enumerate(digests[1]) if digest in place_of}
    files, others = _files(train), _files(other)
    return twins(files, others, progress=progress) if files and others else {}


def _check_classes(images: LabelledImages, wanted: int | None) -> None:
    if len(images.classes) < 2:
        raise ValueError(f"training needs two classes or more, there is one: {images.source}")
    if wanted is not None and len(images.classes) != wanted:
        raise ValueError(
            f"{wanted} classes requested, but there are {len(images.classes)}: {images.source}"
        )


def _balanced(images: LabelledImages, count: int | None, seed: int, what: str) -> LabelledImages:
    """A balanced subset of ``count`` images."""
    if count is None or count == len(images):
        return images
    if count > len(images):
        raise ValueError(
            f"{count} images {what} were requested, but there are {len(images)}: {images.source}"
        )
    indices = np.sort(balanced_choice(images.labels, count, seed))
    return SubsetImages(images, indices, what)

"""Training, validation and test images, from one line of text."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from asvit.core.console import quantity
from asvit.core.files import expanded, split_reading
from asvit.data.base import (
    TEST,
    VALIDATION,
    Indices,
    LabelledImages,
    Progress,
    balanced_choice,
    join,
    numbered_as,
    sets_digest,
    subset,
)
from asvit.data.cache import fit_in_memory
from asvit.data.copies import copies_in_words, copies_of, distinct, divide_apart, equal_images
from asvit.data.fractals import FractalDataset, check_least
from asvit.data.kinds import ImageKind, the_same
from asvit.data.sources import are_fractals, fractal_classes, open_dataset, open_parts, trained_on
from asvit.data.tables import is_table
from proxies.text import listed, one_line

_log = logging.getLogger(__name__)

_PER_CLASS = (100, 10)  # default numbers of fractals for training and validation
_TRAINED, _VALIDATED = "for training", "for validation"  # words for the two parts


@dataclass(frozen=True, eq=False)
class TrainingSets:
    """Training and validation images of the same classes, disjoint unless asked for otherwise."""

    train: LabelledImages  # images to train on
    validation: LabelledImages  # images to validate with, of the same kind
    classes: tuple[str, ...]  # name of each label
    # Descriptions of the parts (``source``, ``validation``), and a SHA-256 of the names, labels
    # and classes of their images, and of their content where a table has it (``digest``).
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

    If a source has a validation or test part, that one is used for validation, but for the test
    part of a table; otherwise the same share of every class is held out. Of fractals, validation
    takes later instances of the same classes.

    Args:
        spec: One of the forms of :func:`asvit.data.list_sources` but noise.
        validation: Images of the same classes to validate with instead, of any of these forms but
            fractals; of those with parts, the part to validate on. Its files are read as those of
            ``spec`` unless it ends in a reading of its own.
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
    check_least(seed=(seed, 0))
    counts = {_TRAINED: train_images, _VALIDATED: validation_images}
    for what, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{count} images {what} were requested; use 1 or more")
    if are_fractals(spec):
        if validation is not None:
            raise ValueError(f"{spec!r} has images for validation; leave {validation!r} out")
        number = fractal_classes(spec, classes)
        train, other = _fractals(number, counts, image_size, seed, progress)
        held = other
    else:
        train, given = _opened(spec, validation)
        if (number := len(train.classes)) < 2 or number != (classes or number):
            needed = "two or more" if classes is None else classes
            raise ValueError(
                f"training needs {needed} classes, there are {number}: {train.source}"
            )
        if given is None:
            train, held = _divided(train, held_out, seed, progress, quiet=quiet)
        else:
            held = numbered_as(given, train.classes, train.source)
            if (lacking := sorted({*train.classes} - {*given.classes})) and not quiet:
                names = listed(map(repr, lacking))
                _log.warning("no image to validate on has the class %s: %s", names, held.source)
        train = _balanced(train, train_images, seed, _TRAINED)
        other = _balanced(held, validation_images, seed, _VALIDATED)
        if given is not None and not train_on_validation and not quiet:
            _warn_of_copies(train, other, progress)
    _check_each_class(train, other)
    if train_on_validation:
        train = join(train, held)
    the_same([(part.source, part.kind) for part in (train, other)], "training")
    provenance = {"source": train.source, "validation": other.source}
    provenance["digest"] = sets_digest(train, other)
    return TrainingSets(train, other, train.classes, provenance)


def open_test_part(spec: str, reading: str = "") -> LabelledImages:
    """Open the stored images that a network is to be tested on: the last part that there is.

    ``reading`` says how files are read where ``spec`` does not end in a reading.
    """
    return [*open_parts(spec, reading=reading, partial=True).values()][-1]


def _opened(spec: str, validation: str | None) -> tuple[LabelledImages, LabelledImages | None]:
    """Stored images for training, and for validation if there are any."""
    if spec == "gaussian":
        raise ValueError("'gaussian' is noise without classes; use e.g. 'fractal' or a folder")
    if validation is None:
        parts = open_parts(spec)
        train = trained_on(parts, spec)
        kept = is_table(expanded(split_reading(spec)[0]))  # its test part, as that of a design
        return train, parts.get(VALIDATION) or (None if kept else parts.get(TEST))
    parts = open_parts(validation, reading=split_reading(spec)[1], partial=True)
    return open_dataset(spec), parts.get(VALIDATION) or [*parts.values()][-1]


def _fractals(
    classes: int,
    counts: Mapping[str, int | None],
    image_size: int,
    seed: int,
    progress: Progress | None,
) -> list[LabelledImages]:
    """Both parts of an endless set; validation has the instances after those for training."""
    if classes < 2:
        raise ValueError(f"training needs two classes or more, got {classes} fractal classes")
    first, parts = 0, list[LabelledImages]()
    for (what, count), default in zip(counts.items(), _PER_CLASS, strict=True):
        size = classes * default if count is None else count
        each = -(-size // classes)
        part = FractalDataset(classes, each, image_size, seed=seed, first=first)
        if fit_in_memory(part, image_size):
            part.prepare(progress=progress)
        first += each
        # The order takes the classes in turn, so a prefix is balanced.
        parts.append(subset(part, np.arange(size), what) if size < len(part) else part)
    return parts


def _divided(
    images: LabelledImages, held_out: float, seed: int, progress: Progress | None, *, quiet: bool
) -> tuple[LabelledImages, LabelledImages]:
    """Hold out a share of the images, on whose copies nothing is trained."""
    groups = equal_images(images, progress)
    if not quiet:
        names = [images.name(index) for index in range(len(images))]
        for warning in copies_in_words(names, images.labels, groups)[1]:
            _log.warning("%s", warning)
    own = np.bincount(
        images.labels[distinct(images.labels, groups)], minlength=len(images.classes)
    )
    lonely = min(np.unique(images.labels).tolist(), key=lambda label: (own[label], label))
    if own[lonely] < 2:
        what = "one image" if own[lonely] else "no image that is in this class alone"
        raise ValueError(
            f"class {images.classes[lonely]!r} has {what}, which cannot be divided: add images to "
            f"it or give a folder to validate with ({one_line(images.source)})"
        )
    stay, held = divide_apart(images.labels, groups, held_out, seed)
    return subset(images, stay, _TRAINED), subset(images, held, _VALIDATED)


def _warn_of_copies(
    train: LabelledImages, other: LabelledImages, progress: Progress | None
) -> None:
    if copies := copies_of(train, other, progress):
        place, twin = min(copies.items())
        _log.warning(
            "%d of %d images for validation are also among those to train on (%s is %s there), so "
            "the accuracy is too high; remove them from one of the parts",
            *(len(copies), len(other)),
            *(one_line(name, most=200) for name in (other.name(place), train.name(twin))),
        )


def _check_each_class(train: LabelledImages, other: LabelledImages) -> None:
    """Raise a ValueError for a class with images to validate alone; name those without any."""
    if len(train) < len(train.classes):
        raise ValueError(
            f"{quantity(len(train), 'image')} for training, but {len(train.classes)} classes, "
            f"each of which needs one: {train.source}"
        )
    unseen: Indices = np.setdiff1d(np.arange(len(train.classes)), train.labels)
    if validated := np.intersect1d(unseen, other.labels).tolist():
        raise ValueError(
            f"class {train.classes[validated[0]]!r} has no image for training, but some for "
            f"validation; move some, or leave the class out: {train.source}"
        )
    if unseen.size:
        names = listed(repr(train.classes[label]) for label in unseen.tolist())
        _log.warning("no image has the class %s: %s", names, train.source)


def _balanced(images: LabelledImages, count: int | None, seed: int, what: str) -> LabelledImages:
    """A balanced subset of ``count`` images."""
    if count is None or count == len(images):
        return images
    if count > len(images):
        raise ValueError(
            f"{count} images {what} were requested, but there are {len(images)}: {images.source}"
        )
    return subset(images, np.sort(balanced_choice(images.labels, count, seed)), what)

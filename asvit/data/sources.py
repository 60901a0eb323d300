"""Images by one line of text: the parts of a source, and a batch of images for the measures."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asvit.core.files import expanded, split_reading
from asvit.core.shared_settings import AUTO
from asvit.data.base import (
    TRAIN,
    LabelledImages,
    Progress,
    balanced_choice,
    join,
    numbered_as,
    read_all,
    subset,
)
from asvit.data.cache import decode, decoded
from asvit.data.folders import folder_parts
from asvit.data.fractals import DEFAULT_CLASSES, MIN_SIZE, FractalDataset, check_least
from asvit.data.idx import idx_parts, open_digits
from asvit.data.kinds import GREY, MEAN, PICTURES, STD, Array
from asvit.data.libraries import archives, hub_parts, torchvision_parts
from asvit.data.preparation import Preparation, square
from asvit.data.statistics import SAMPLE, chosen_ground, standardised
from asvit.data.tables import is_table, table_parts
from proxies.messages import nearest
from proxies.text import listed

_DOWNLOAD = ":download"
_FEW = 64  # fractals that are made anew each time: to look for their pixels takes as long

Parts = Mapping[str, LabelledImages]


class Source(NamedTuple):
    """A kind of images."""

    name: str
    description: str


_SOURCES = (
    Source("fractal", f"coloured fractals, endless, {DEFAULT_CLASSES} classes (the default)"),
    Source("fractal:CLASSES", "the same with another number of classes"),
    Source("gaussian", "standard normal noise, no classes"),
    Source("digits", "scikit-learn's 1,797 hand-written digits, enlarged"),
    Source("FOLDER", "your images: FOLDER/CLASS/image.jpg, or FOLDER/image.jpg, or IDX files"),
    Source("TABLE.csv", "images that a table lists, with the columns image, class and part"),
    Source("wds:PATTERN", "tar archives as WebDataset has them: KEY.jpg beside KEY.cls"),
    Source("torchvision:NAME", "a torchvision dataset in $ASVIT_DATA; add :download to fetch it"),
    Source("hf:NAME", "a Hugging Face dataset in its cache; add :download to fetch it"),
    Source("FOLDER:grey", "any of the last six, 8-bit pictures as one channel"),
    Source("FOLDER:rgb", "the same, all as 8-bit RGB, whatever is in the files"),
)
#: Libraries whose sets have names -> what opens their parts.
_LIBRARIES: Mapping[str, Callable[..., Parts]] = {
    "torchvision": torchvision_parts,
    "hf": hub_parts,
}
#: Words that are no paths, or that stand before a colon in a text that is none.
KINDS = ("fractal", "gaussian", "digits", "wds", *_LIBRARIES)


def list_sources() -> tuple[Source, ...]:
    """All forms that ``load_images`` accepts, the default first."""
    return _SOURCES


def open_parts(spec: str, *, reading: str = "", partial: bool = False) -> Parts:
    """The parts of stored images, of ``PARTS`` and in their order.

    Images without parts are to train on.

    Args:
        spec: One of the forms of ``list_sources`` but fractals and noise.
        reading: How files are read where ``spec`` does not end in a reading.
        partial: Whether class folders may be empty.
    """
    spec, own = split_reading(spec)
    reading = own or reading
    kind, _, rest = spec.partition(":")
    if kind in _LIBRARIES:
        name = rest.removesuffix(_DOWNLOAD)
        if not name:
            raise ValueError(f"{spec!r} names no dataset; use {kind}:NAME")
        return _LIBRARIES[kind](name, download=rest.endswith(_DOWNLOAD), reading=reading)
    if spec == "digits":
        return open_digits(reading)
    if spec.startswith("wds:"):
        return archives(rest, reading=reading)
    path = expanded(spec)
    if not spec.strip() or not path.exists():
        raise _unknown(spec)
    if is_table(path):
        return table_parts(path, reading=reading)
    return idx_parts(path, reading) or folder_parts(path, reading=reading, partial=partial)


def open_dataset(spec: str) -> LabelledImages:
    """Open stored images as a dataset, of a source with parts those to train on."""
    return trained_on(open_parts(spec), spec)


def trained_on(parts: Parts, spec: str) -> LabelledImages:
    """The part to train on of the images that ``spec`` names; a ValueError if there is none."""
    if TRAIN not in parts:
        raise ValueError(f"{spec!r} has no images to train on, but only parts {listed(parts)}")
    return parts[TRAIN]


def open_whole(spec: str) -> LabelledImages:
    """Open all parts of stored images as one dataset, of the classes of those to train on."""
    parts = open_parts(spec)
    train = trained_on(parts, spec)
    sets = [numbered_as(images, train.classes, train.source) for images in parts.values()]
    return join(*sets, parts=[*parts] if len(sets) > 1 else (), source=train.source)


def _unknown(spec: str) -> Exception:
    """The error for a text that is neither a known source nor an existing path."""
    kind, colon, rest = spec.partition(":")
    if spec == "gaussian" or are_fractals(spec):
        return ValueError(f"{spec!r} are no stored images; name a folder or another source")
    near = None if os.sep in kind or kind in KINDS else nearest(kind.lower(), KINDS)
    if near:
        return ValueError(f"unknown images {spec!r}; did you mean {near + colon + rest!r}?")
    forms = ", ".join(source.name for source in _SOURCES)
    return FileNotFoundError(f"no folder {spec!r}, and no images of that name; use one of {forms}")


def are_fractals(spec: str) -> bool:
    """Whether images are ``fractal`` or ``fractal:CLASSES``."""
    return spec.partition(":")[0] == "fractal"


def fractal_classes(spec: str, wanted: int | None = None) -> int:
    """The classes in ``fractal:CLASSES``; for ``fractal`` those wanted, or the default."""
    _, colon, text = spec.partition(":")
    if not colon:
        return DEFAULT_CLASSES if wanted is None else wanted
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{spec!r}: {text!r} is not a number of classes; use e.g. 'fractal:100'")
    number = int(text)
    if wanted not in (None, number):
        raise ValueError(f"{wanted} classes requested, but {spec!r} has {number}")
    check_least(classes=(number, 1))
    return number


def class_count(spec: str) -> int | None:
    """Classes of a training on the images that ``spec`` names; None where it has no number."""
    if spec in ("fractal", "gaussian"):
        return None
    classes = fractal_classes(spec) if are_fractals(spec) else len(open_dataset(spec).classes)
    return classes if classes > 1 or are_fractals(spec) else None


def channel_count(spec: str) -> int:
    """Channels of the images that ``spec`` names: 3 of all that are made here, or are pictures."""
    name, reading = split_reading(spec)
    if name == "digits" or name.partition(":")[0] in ("fractal", "gaussian", "torchvision"):
        return 1 if reading == GREY else PICTURES.channels
    return open_dataset(spec).kind.channels


@dataclass(frozen=True, eq=False)
class Images:
    """A batch of images and its source."""

    # ``[count, C, S, S]`` float32, normalised by ImageNet's mean and standard deviation, or by
    # their own where they are no RGB pictures; noise is standard normal.
    pixels: Tensor
    labels: Tensor  # ``[count]`` int64, indices into ``classes``
    # Names of all classes of the source, including those without an image here.
    classes: tuple[str, ...]
    source: str  # description of the images
    own_statistics: bool = False  # whether they are normalised by their own mean and deviation

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.pixels.shape[1]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the pixels, in hexadecimal."""
        return hashlib.sha256(self.pixels.contiguous().numpy().data).hexdigest()

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """A number for each image, equal for equal pixels."""
        rows = self.pixels.flatten(1).contiguous().numpy()
        digests = [hashlib.blake2b(row.data).hexdigest() for row in rows]
        return np.unique(digests, return_inverse=True)[1]


def load_images(
    spec: str,
    *,
    count: int,
    image_size: int,
    seed: int,
    fit: str = "crop",
    ground: str = AUTO,
    progress: Progress | None = None,
) -> Images:
    """Load images that ``spec`` names; equal arguments give equal images.

    The choice is random by ``seed`` and balanced over the classes; a smaller ``count`` gives a
    prefix of a larger one. Pictures are resized on the shorter side (bicubic) and cropped to the
    central square, unless ``fit`` says otherwise. Images that are no RGB pictures are normalised
    by mean and deviation of each channel over those that are loaded.

    Args:
        spec: One of the forms of ``list_sources``.
        count: Number of images.
        image_size: Pixels per side.
        seed: Seed of the choice, and of the endless set of fractals or noise.
        fit: How oblong images become square: ``"crop"``, ``"pad"`` or ``"squash"``.
        ground: What transparent pictures are laid over; by default that on which those of the
            choice stand out.
        progress: Called with the number of images that are ready, and ``count``.
    """
    check_least(count=(count, 1), image_size=(image_size, MIN_SIZE), seed=(seed, 0))
    if spec == "gaussian":
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        noise = rng.standard_normal((count, 3, image_size, image_size), dtype=np.float32)
        none, source = torch.zeros(count, dtype=torch.int64), f"standard normal noise, seed {seed}"
        return Images(torch.from_numpy(noise), none, ("noise",), source)
    if are_fractals(spec):
        classes = fractal_classes(spec)
        fractals = FractalDataset(classes, -(-count // classes), image_size, seed=seed)
        how, places = Preparation(image_size, crop_pct=1.0), np.arange(count)
        if count <= _FEW:
            pixels = decoded(fractals, how, progress, range(count))
        else:
            pixels = decode(subset(fractals, places, ""), how, progress)
        return _batch(fractals, pixels, places)
    dataset = open_dataset(spec)
    _ = dataset.kind  # or why they have none
    if len(dataset) < count:
        raise ValueError(
            f"{count} images are needed, but there are {len(dataset)}: {dataset.source}; use fewer"
        )
    if chosen := chosen_ground(dataset, ground, seed=seed, most=min(count, SAMPLE)):
        dataset = dataset.on(chosen)
        dataset.source += f"; transparent ones over {chosen}"
    indices = balanced_choice(dataset.labels, count, seed)

    def read(index: int) -> Array:
        return np.asarray(square(dataset.picture(index), image_size, fit))

    results = read_all(dataset, read, indices.tolist(), progress)
    pictures = torch.from_numpy(np.array([pixels for _, pixels in results]))
    return _batch(dataset, pictures.permute(0, 3, 1, 2), indices)


def _batch(dataset: LabelledImages, pixels: Tensor, indices: Any = slice(None)) -> Images:
    """The pictures ``[count, C, S, S]`` of some images, normalised."""
    own = not dataset.kind.picture
    if own:
        pixels = standardised(pixels, pixels, dataset.source)
    else:
        mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        pixels = ((pixels.float() / 255 - mean) / std).contiguous()
    labels = torch.from_numpy(dataset.labels[indices])
    return Images(pixels, labels, dataset.classes, dataset.source, own)

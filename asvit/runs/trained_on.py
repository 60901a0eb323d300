"""Pictures that a network was trained on, as far as its run folder tells."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from asvit.core.files import expanded, split_reading, with_reading
from asvit.core.run_files import CHECKPOINT, PICTURES, PRETRAINED_WEIGHTS, RESULT
from asvit.core.threads import in_order
from asvit.data.base import TRAIN, VALIDATION, LabelledImages, Progress, file_digest, subset
from asvit.data.copies import equal
from asvit.data.sources import KINDS, open_dataset
from asvit.data.tables import is_table, table_parts
from asvit.runs.folder import kind_in
from asvit.search.evolution import EvolutionResult
from asvit.spaces.timm_models import PREFIX
from asvit.training.checkpoint import Checkpoint
from asvit.training.distillation import PUBLISHED
from asvit.training.loaders import open_sets
from asvit.training.pretrained import weights_path
from asvit.training.result import TrainResult
from asvit.training.settings import TrainSettings
from asvit.training.supernet import places_to_train_on
from asvit.training.supernet_result import SupernetResult
from proxies.messages import first_line
from proxies.text import one_line

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedPictures:
    """The files, or the SHA-256 of their contents; both may be empty."""

    paths: Sequence[Path] = ()
    digests: frozenset[str] = frozenset()

    @classmethod
    def of(cls, weights: str, progress: Progress | None = None) -> Self:
        """Those of weights in the folder of a training, evolution or design, or in one inside.

        What a design fine-tunes has not been trained there.
        """
        published = weights == PUBLISHED or weights.startswith(PREFIX)
        if published or Path(weights).name in PRETRAINED_WEIGHTS:
            return cls()
        try:  # what is there may be of another version, and pictures may be gone
            for folder in weights_path(weights).parents[:2]:
                kind = kind_in(folder)
                if kind == "design":
                    return cls(digests=frozenset(_listed(folder / PICTURES, TRAIN, VALIDATION)))
                if kind == "training":
                    return cls._of_training(folder, progress)
                if kind == "evolution":
                    return cls._of_evolution(folder, progress)
        except (OSError, ValueError) as error:
            logger.warning(
                "whether the network was trained on some of these pictures is not known: %s",
                first_line(error),
            )
        return cls()

    @classmethod
    def _of_training(cls, folder: Path, progress: Progress | None) -> Self:
        s, before = _started_with(folder)
        data = images_of(folder, s.data)
        if not _is_there(data, s.data, folder):
            return cls()
        s = replace(s, data=with_reading(data, split_reading(s.data)[1]))
        # How many are validated on changes nothing; there may be fewer by now.
        sets = open_sets(s, validation_images=None, classes=None, quiet=True, progress=progress)
        if s.validation_images is None and before != sets.provenance["digest"]:
            logger.warning(
                "whether the network was trained on some of these pictures is not certain: %s has "
                "other pictures than when %s was trained on it",
                *(one_line(s.data), folder),
            )
        return cls._of_images(sets.train)

    @classmethod
    def _of_evolution(cls, folder: Path, progress: Progress | None) -> Self:
        """Those of the supernet whose weights the network inherited."""
        supernet = Path(EvolutionResult.read(folder / RESULT).provenance["supernet"]["source"])
        s = SupernetResult.read(supernet / RESULT).settings
        if not _is_there(expanded(split_reading(s.data)[0]), s.data, supernet):
            return cls()
        images = open_dataset(s.data)
        places = places_to_train_on(s, images.labels, progress)
        return cls._of_images(subset(images, places, "for training"))

    @classmethod
    def _of_images(cls, images: LabelledImages) -> Self:
        digests = frozenset(images.digest(index) for index in range(len(images)))
        if "" not in digests:
            return cls(digests=digests)
        return cls(paths=tuple(path.resolve() for path in _paths(images)))

    def count(self, pictures: Sequence[tuple[str, Path]], progress: Progress | None = None) -> int:
        """How many pictures, each a digest and a file, are among them, under any name."""
        same = sum(digest in self.digests for digest, _ in pictures)
        if not self.paths:
            return same
        files, own = [*self.paths, *(path.resolve() for _, path in pictures)], len(self.paths)
        first = equal(files.__getitem__, len(files), progress)
        return int((first[own:] < own).sum())


def _paths(images: LabelledImages) -> Sequence[Path]:
    """The files of images; none where they have none of their own."""
    files = [images.path(index) for index in range(len(images))]
    return [file for file in files if file is not None]


def count_trained(weights: str, images: LabelledImages, progress: Progress | None = None) -> int:
    """How many images the network of some weights was trained on, as far as its folder tells.

    Those in archives and of other libraries count as others.
    """
    if not (paths := _paths(images)):
        return 0
    known = TrainedPictures.of(weights, progress)

    def digest(index: int) -> str:
        with suppress(OSError):  # that of no file equals none
            file = paths[index]
            return images.digest(index) or (file_digest(file) if file.is_file() else "")
        return ""

    digests = [*in_order(digest, range(len(paths)))] if known.digests else [""] * len(paths)
    return known.count([*zip(digests, paths, strict=True)], progress)


def _started_with(training: Path) -> tuple[TrainSettings, str | None]:
    """Settings of a training and the digest of its images; an unfinished one has no result."""
    if (training / RESULT).exists():
        result = TrainResult.read(training / RESULT)
        return result.settings, (result.provenance.get("images") or {}).get("digest")
    origin = Checkpoint.read(training / CHECKPOINT).origin
    return origin.settings, origin.images["digest"]


def _is_there(path: Path, data: str, folder: Path) -> bool:
    """Whether the images that the run in a folder was trained on are a folder or table here."""
    there = path.is_dir() or is_table(path)
    if not there and data.partition(":")[0] not in KINDS:  # a path, from another working folder
        logger.warning(
            "whether the network was trained on some of these pictures is not known: there is no "
            "%s here, which %s was trained on",
            *(one_line(data), folder),
        )
    return there


def images_of(training: Path, data: str) -> Path:
    """The path ``data`` of the images of a training; those of a design may have moved with it."""
    path, own = expanded(split_reading(data)[0]), training.parent / PICTURES
    return own if path.name == own.name and kind_in(own.parent) == "design" else path


def _listed(table: Path, *parts: str) -> Iterator[str]:
    """The digests of the pictures of some parts of a table."""
    for part, images in table_parts(table).items():
        if part in parts:
            yield from map(images.digest, range(len(images)))

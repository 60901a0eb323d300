"""How many pictures a network was trained on, as far as its run folder tells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asvit.core.files import expanded, split_reading, with_reading
from asvit.core.results import kind_in
from asvit.core.run_files import CHECKPOINT, PICTURES, PRETRAINED_WEIGHTS, RESULT
from asvit.core.threads import in_order
from asvit.data.base import TRAIN, VALIDATION, LabelledImages, Progress, file_digest, join, subset
from asvit.data.copies import equal
from asvit.data.sources import KINDS, open_dataset
from asvit.data.tables import is_table, table_parts
from asvit.networks.opening import weights_path
from asvit.search.evolution import EvolutionResult
from asvit.spaces.timm_models import PREFIX
from asvit.training.checkpoint import Checkpoint
from asvit.training.distillation import PUBLISHED
from asvit.training.loaders import open_sets
from asvit.training.result import TrainResult
from asvit.training.supernet import places_to_train_on
from asvit.training.supernet_result import SupernetResult
from proxies.messages import first_line
from proxies.text import one_line

logger = logging.getLogger(__name__)

_UNKNOWN = "whether the network was trained on some of these pictures is not known: %s"


def count_trained(weights: str, images: LabelledImages, progress: Progress | None = None) -> int:
    """How many images the network of some weights was trained on, under any name.

    Those in archives and of other libraries count as others. A warning says so if it cannot be
    known.
    """
    if not (paths := _paths(images)):
        return 0
    try:  # what is there may be of another version, and pictures may be gone
        trained = _trained_images(weights, progress)
    except (OSError, ValueError) as error:
        logger.warning(_UNKNOWN, first_line(error))
        return 0
    if trained is None:
        return 0
    digests = {trained.digest(place) for place in range(len(trained))}
    if digests and "" not in digests:  # as tables have them

        def digest(place: int) -> str:
            known = images.digest(place)
            return known or (file_digest(paths[place]) if paths[place].is_file() else "")

        return sum(own in digests for own in in_order(digest, range(len(paths))))
    files = [path.resolve() for path in (*_paths(trained), *paths)]
    ours = len(files) - len(paths)  # the first are those that it was trained on
    return int((equal(files.__getitem__, len(files), progress)[ours:] < ours).sum())


def _paths(images: LabelledImages) -> Sequence[Path]:
    """The files of images; none where they have none of their own."""
    files = [images.path(place) for place in range(len(images))]
    return [file for file in files if file is not None]


def _trained_images(weights: str, progress: Progress | None) -> LabelledImages | None:
    """What the run trained on that has these weights in its folder, or in one inside.

    None where there is no such run, or its images are not here. What a design fine-tunes has not
    been trained there.
    """
    published = weights == PUBLISHED or weights.startswith(PREFIX)
    if published or Path(weights).name in PRETRAINED_WEIGHTS:
        return None
    for folder in weights_path(weights).parents[:2]:
        kind = kind_in(folder)
        if kind == "design":
            parts = table_parts(folder / PICTURES)
            return join(*(parts[name] for name in (TRAIN, VALIDATION) if name in parts))
        if kind == "training":
            return _of_training(folder, progress)
        if kind == "evolution":  # those of the supernet whose weights the network inherited
            evolved = EvolutionResult.read(folder / RESULT)
            supernet = Path(evolved.provenance["supernet"]["source"])
            s = SupernetResult.read(supernet / RESULT).settings
            if not _is_there(expanded(split_reading(s.data)[0]), s.data, supernet):
                return None
            images = open_dataset(s.data)
            places = places_to_train_on(s, images.labels, progress)
            return subset(images, places, "for training")
    return None


def _of_training(folder: Path, progress: Progress | None) -> LabelledImages | None:
    if (folder / RESULT).exists():
        result = TrainResult.read(folder / RESULT)
        s, before = result.settings, (result.provenance.get("images") or {}).get("digest")
    else:  # it has not finished
        origin = Checkpoint.read(folder / CHECKPOINT).origin
        s, before = origin.settings, origin.images["digest"]
    data = images_of(folder, s.data)
    if not _is_there(data, s.data, folder):
        return None
    s = replace(s, data=with_reading(data, split_reading(s.data)[1]))
    # How many are validated on changes nothing; there may be fewer by now.
    sets = open_sets(s, validation_images=None, classes=None, quiet=True, progress=progress)
    if s.validation_images is None and before != sets.provenance["digest"]:
        logger.warning(
            "whether the network was trained on some of these pictures is not certain: %s has "
            "other pictures than when %s was trained on it",
            *(one_line(s.data), folder),
        )
    return sets.train


def _is_there(path: Path, data: str, folder: Path) -> bool:
    """Whether the images that the run in a folder was trained on are a folder or table here."""
    there = path.is_dir() or is_table(path)
    if not there and data.partition(":")[0] not in KINDS:  # a path, from another working folder
        words = f"there is no {one_line(data)} here, which {folder} was trained on"
        logger.warning(_UNKNOWN, words)
    return there


def images_of(training: Path, data: str) -> Path:
    """The path ``data`` of the images of a training; those of a design may have moved with it."""
    path, own = expanded(split_reading(data)[0]), training.parent / PICTURES
    if path.name != own.name or kind_in(own.parent) != "design":
        return path
    return own

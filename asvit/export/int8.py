"""Which pictures quantise a network, and what 8-bit integers cost it in accuracy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from asvit.core.files import split_reading
from asvit.core.results import stored_content
from asvit.core.run_files import PICTURES, RESULT
from asvit.core.running import by_onnx, onnx_session, takes_pictures
from asvit.core.threads import in_order, or_reason
from asvit.data.base import TEST, TRAIN, LabelledImages, balanced_choice, numbered_as
from asvit.data.tables import is_table, open_table, table_parts
from asvit.data.training_sets import open_training_sets
from asvit.export.quantisation import CALIBRATION, Quantisation
from asvit.measuring.latency import Latency
from asvit.measuring.timing import time_passes
from asvit.networks import WeightsFile
from asvit.statistics.intervals import paired_difference
from asvit.training.loaders import open_sets
from asvit.training.result import TrainResult
from asvit.use.predicting import open_classifier
from asvit.use.trained_on import count_trained, images_of
from proxies.text import listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

logger = logging.getLogger(__name__)

_SEED = 0  # of the pictures that are chosen
_EVERY = 5_000  # pictures between two lines about how far it is
_BATCH = 32  # pictures in a batch of a graph that takes any number
_UNREAD = -1  # in the place of a class


class Pictures(NamedTuple):
    """Pictures of a network's classes."""

    trained: LabelledImages  # ranges are taken from these
    others: LabelledImages  # the network was not trained on these


def labelled_pictures(data: str | None, weights: Path | None, content: WeightsFile) -> Pictures:
    """The pictures that a network was trained on, and others.

    Args:
        data: Names them, as for a training; None for those of the run that the weights are of.
        weights: The file of the weights; None for random and published ones.
        content: The network.

    Raises:
        ValueError: If they are not known, are not the same any more, or are of other classes or
            of another kind.
    """
    trained, others = _of_run(weights) if data is None else _named(data, weights, content)
    names, many = content.classes or others.classes, content.network.num_classes
    if len(names) != many or sorted(others.classes) != sorted(names):
        known = listed(content.classes) if content.classes else f"{many} without names"
        raise ValueError(
            f"the pictures have other classes than the network: {listed(others.classes)}, not "
            f"{known}; name pictures of its own classes with --data"
        )
    ground = content.preparation.ground
    return Pictures(trained.on(ground), numbered_as(others, names).on(ground))


def _named(data: str, weights: Path | None, content: WeightsFile) -> Pictures:
    """Pictures divided as in the training of the weights, or, if unknown, as in any training."""
    how: Mapping[str, Any] = {"seed": _SEED}
    if weights is not None:
        with suppress(OSError, ValueError):  # no training's folder
            s = TrainResult.read(weights.with_name(RESULT)).settings
            how = {"seed": s.seed, "held_out": s.held_out}
    sets = open_training_sets(data, image_size=content.network.image_size, **how)
    own, kind = sets.validation.kind, content.preparation.kind
    if own.content != kind.content:
        raise ValueError(
            f"{data} has images of {own}, the network is for {kind}; name others with --data"
        )
    if weights is not None and (trained := count_trained(str(weights), sets.validation)):
        logger.warning(
            "the network was trained on %d of the %d pictures that the copy is judged by: on "
            "others int8 may cost more",
            *(trained, len(sets.validation)),
        )
    return Pictures(sets.train, sets.validation)


def _of_run(weights: Path | None) -> Pictures:
    """The pictures of the training or design that weights are of, and those it kept aside."""
    kind = None
    with suppress(OSError, ValueError):
        kind = stored_content(weights.with_name(RESULT)).get("kind") if weights else None
    if weights is None or kind not in ("training", "design"):
        raise ValueError(
            f"{weights or 'the weights'} do not say which pictures they were trained on; name "
            "some with --data"
        )
    folder = weights.parent
    if kind == "design":
        settings = stored_content(folder / RESULT)["settings"]
        return _listed(folder / PICTURES, split_reading(settings["data"])[1])
    result = TrainResult.read(folder / RESULT)
    s = result.settings
    if s.train_on_validation:
        table = images_of(folder, s.data)
        if is_table(table) and TEST in table_parts(table):
            return _listed(table, split_reading(s.data)[1])
        raise ValueError(
            f"{folder} was trained on its validation pictures, too; name others with --data"
        )
    sets = open_sets(s)
    if (result.provenance.get("images") or {}).get("digest") != sets.provenance["digest"]:
        raise ValueError(
            f"{s.data} has other pictures than when {folder} was trained on it, so that some "
            "to judge by may be among those; name pictures with --data"
        )
    return Pictures(sets.train, sets.validation)


def _listed(table: Path, reading: str) -> Pictures:
    """The pictures of a table to train on, and those that it sets aside for a test."""
    return Pictures(*(open_table(table, part, reading=reading) for part in (TRAIN, TEST)))


def calibration(content: WeightsFile, pictures: LabelledImages) -> Sequence[Array]:
    """Some pictures of each class as a network takes them, ``[C, side, side]`` each."""
    count, prepare = min(CALIBRATION, len(pictures)), content.preparation
    chosen = sorted(balanced_choice(pictures.labels, count, _SEED).tolist())
    images = []
    for image in in_order(or_reason(lambda at: prepare(pictures.picture(at)).numpy()), chosen):
        if isinstance(image, str):
            logger.warning("left out: %s", image)
        else:
            images.append(image)
    if not images:
        raise ValueError(f"none of {count} pictures to quantise with can be read")
    return images


def batches(images: Sequence[Array], size: int) -> Iterator[Array]:
    """Batches of a size; the last one is filled up with its last image."""
    for start in range(0, len(images), size):
        part = list(images[start : start + size])
        yield np.stack(part + [part[-1]] * (size - len(part)))


def judge(
    before: Path,
    after: Path,
    *,
    content: WeightsFile,
    pictures: Pictures,
    calibrated: int,
    tolerance: float,
    progress: Callable[[str], None],
) -> Quantisation:
    """Compare a quantised ONNX file with the one in float32, on pictures of neither's training.

    The point estimate decides. Its interval is only told: with some dozens of pictures it would
    refuse nearly every network.

    Raises:
        ValueError: If more is lost than the tolerance.
    """
    others = pictures.others
    progress(f"judging both copies on {len(others):,} pictures")
    known = _answers(before, others, lambda done: progress(f"judged float32 on {done}"))
    readable = known != _UNREAD
    if not readable.any():
        raise ValueError(f"no picture to judge by can be read: {others.source}")
    new = _answers(after, others, lambda done: progress(f"judged int8 on {done}"))
    right = [(answers == others.labels)[readable] for answers in (known, new)]
    difference = paired_difference(right[1], right[0]).per_cent
    quantisation = Quantisation(
        calibrated=calibrated,
        pictures=int(readable.sum()),
        source=others.source,
        accuracy=100 * float(right[1].mean()),
        accuracy_before=100 * float(right[0].mean()),
        difference=difference.value,
        interval=difference.interval,
        tolerance=tolerance,
        size=after.stat().st_size,
        size_before=before.stat().st_size,
        latency=_latency(after, content),
        latency_before=_latency(before, content),
    )
    if -quantisation.difference > tolerance + 1e-9:
        raise ValueError(
            f"int8 changes it by {quantisation.in_words}, and {tolerance:g} may be lost; nothing "
            "was written (asvit export --tolerance allows more)"
        )
    return quantisation


def _answers(path: Path, pictures: LabelledImages, progress: Callable[[str], None]) -> Array:
    """Place of the class that an ONNX file takes each picture for; ``_UNREAD`` without one."""
    classifier = open_classifier(str(path), torch.device("cpu"))
    names = [str(pictures.path(at) or pictures.name(at)) for at in range(len(pictures))]
    answers = np.full(len(names), _UNREAD)
    for place, row in enumerate(classifier.logits(names, pictures.picture, _BATCH)):
        if isinstance(row, str):
            logger.warning("left out: %s", row)
        else:
            answers[place] = row.numpy().argmax()
        if place and place % _EVERY == 0:
            progress(f"{place:,} of {len(names):,}")
    return answers


def _latency(path: Path, content: WeightsFile) -> Latency:
    """The time of an image, or of a picture that is half as large again where it prepares them."""
    session = onnx_session(path, threads=torch.get_num_threads())
    network, run = content.network, by_onnx(session)
    side, numbers = network.image_size, "float32"
    shape: tuple[int, ...] = (1, *network.image_shape)
    if takes_pictures(session):
        shape = (1, side * 3 // 2, side * 3 // 2, network.in_chans)
        numbers = content.preparation.kind.dtype
    example = np.zeros(shape, numbers)
    time = time_passes(lambda: run(example), torch.from_numpy(example), runtime="onnx")
    return replace(time, image_size=side)

"""Pictures to quantise a network with, and what 8-bit integers cost it in accuracy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch

from asvit.core.files import split_reading
from asvit.core.run_files import PICTURES, RESULT
from asvit.core.threads import in_order, or_reason
from asvit.data.base import TEST, TRAIN, LabelledImages, balanced_choice, numbered_as
from asvit.data.tables import is_table, open_table, table_parts
from asvit.data.training_sets import open_training_sets
from asvit.designs.result import DesignResult
from asvit.export.quantisation import CALIBRATION, Quantisation
from asvit.export.reload import fixed_batch, onnx_session, run_onnx, takes_pictures
from asvit.measuring.latency import Latency
from asvit.measuring.timing import time_passes
from asvit.networks import WeightsFile
from asvit.runs.trained_on import count_trained, images_of
from asvit.statistics.intervals import paired_difference
from asvit.training.loaders import open_sets
from asvit.training.result import TrainResult
from proxies.text import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asvit.data.kinds import Picture

    Array = NDArray[Any]
    Prepare = Callable[[Picture], Array]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SEED = 0  # of the pictures that are chosen
_EVERY = 5_000  # pictures between two lines about how far it is
_BATCH = 32  # pictures that are in memory together, and in a batch of a graph that takes any


class Pictures(NamedTuple):
    """Pictures of a network's classes."""

    trained: LabelledImages  # ranges are taken from these
    others: LabelledImages  # the network was not trained on these


def labelled_pictures(data: str | None, weights: Path | None, content: WeightsFile) -> Pictures:
    """The pictures that a network was trained on, and others.

    Args:
        data: Names them, as for a training; None for those of the run that the weights are of.
        weights: The file of the weights; None for random ones.
        content: The network.

    Raises:
        ValueError: If they are not known, are not the same any more, or are of other classes or
            of another kind.
    """
    run = None if weights is None else _result(weights.parent)
    if data is not None:
        pictures = _divided(data, run, content.network.image_size)
        own, kind = pictures.others.kind, content.preparation.kind
        if own.content != kind.content:
            raise ValueError(
                f"{data} has images of {own}, the network is for {kind}; name others with --data"
            )
        if weights is not None:
            _warn_of_trained(weights, pictures.others)
    elif isinstance(run, DesignResult):
        pictures = _listed(run.folder / PICTURES, split_reading(run.settings.data)[1])
    elif isinstance(run, TrainResult):
        pictures = _of_training(run)
    else:
        raise ValueError(
            f"{weights or 'random weights'} do not say which pictures they were trained on; name "
            "some with --data"
        )
    _check_classes(pictures.others.classes, content)
    names, ground = content.classes or pictures.others.classes, content.preparation.ground
    others = numbered_as(pictures.others, names).on(ground)
    return Pictures(pictures.trained.on(ground), others)


def _check_classes(classes: Sequence[str], content: WeightsFile) -> None:
    """Check that a network has the classes of the pictures."""
    many = content.network.num_classes
    if not content.classes and len(classes) != many:  # else the answers would all be wrong
        raise ValueError(
            f"the pictures have {len(classes)} classes, the network has {many}; name pictures of "
            "its own classes with --data"
        )
    if content.classes and sorted(classes) != sorted(content.classes):
        pairs = zip_longest(sorted(classes), sorted(content.classes))  # in any order
        first = next(pair for pair in pairs if pair[0] != pair[1])
        here, known = ("none" if name is None else shown(name) for name in first)
        raise ValueError(
            f"the pictures have other classes than the network, such as {here} in the place of "
            f"{known}; name pictures of its own classes with --data"
        )


def _warn_of_trained(weights: Path, others: LabelledImages) -> None:
    """Say how many of the pictures to judge by the network was trained on, if any."""
    if trained := count_trained(str(weights), others):
        logger.warning(
            "the network was trained on %d of the %d pictures that the copy is judged by: on "
            "others int8 may cost more",
            *(trained, len(others)),
        )


def _result(folder: Path) -> TrainResult | DesignResult | None:
    """The result of the training or design in a folder; None if there is none."""
    for kind in (TrainResult, DesignResult):
        with suppress(OSError, ValueError):
            result: TrainResult | DesignResult = kind.read(folder / RESULT)
            return result
    return None


def _listed(table: Path, reading: str) -> Pictures:
    """The pictures of a table to train on, and those that it sets aside for a test."""
    trained, others = (open_table(table, part, reading=reading) for part in (TRAIN, TEST))
    return Pictures(trained, others)


def _divided(data: str, run: TrainResult | DesignResult | None, side: int) -> Pictures:
    """Pictures divided as in the training of the weights, or, if unknown, as in any training."""
    known: Mapping[str, Any] = {"seed": _SEED}
    if isinstance(run, TrainResult):
        known = {"seed": run.settings.seed, "held_out": run.settings.held_out}
    sets = open_training_sets(data, image_size=side, **known)
    return Pictures(sets.train, sets.validation)


def _of_training(run: TrainResult) -> Pictures:
    """The pictures of a training."""
    s = run.settings
    if s.train_on_validation:
        table = images_of(run.folder, s.data)
        if is_table(table) and TEST in table_parts(table):
            return _listed(table, split_reading(s.data)[1])
        raise ValueError(
            f"{run.folder} was trained on its validation pictures, too; name others with --data"
        )
    sets = open_sets(s)
    stored = (run.provenance.get("images") or {}).get("digest")
    if stored != sets.provenance["digest"]:
        raise ValueError(
            f"{s.data} has other pictures than when {run.folder} was trained on it, so that some "
            "to judge by may be among those; name pictures with --data"
        )
    return Pictures(sets.train, sets.validation)


def calibration(content: WeightsFile, pictures: LabelledImages) -> Sequence[Array]:
    """Some pictures of each class as a network takes them, ``[C, side, side]`` each."""
    count = min(CALIBRATION, len(pictures))
    chosen = sorted(balanced_choice(pictures.labels, count, _SEED).tolist())
    images = [image for _, image in _readable(pictures, chosen, _prepared(content))]
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
    graphs = [_Graph(path, content) for path in (before, after)]
    known, new = _right_answers(graphs, pictures.others, progress)
    times = [graph.latency() for graph in graphs]
    difference = paired_difference(new, known).per_cent
    quantisation = Quantisation(
        calibrated=calibrated,
        pictures=len(new),
        source=pictures.others.source,
        accuracy=100 * float(new.mean()),
        accuracy_before=100 * float(known.mean()),
        difference=difference.value,
        interval=difference.interval,
        tolerance=tolerance,
        size=after.stat().st_size,
        size_before=before.stat().st_size,
        latency=times[1],
        latency_before=times[0],
    )
    if -quantisation.difference > tolerance + 1e-9:
        raise ValueError(
            f"int8 changes it by {quantisation.in_words}, and {tolerance:g} may be lost; nothing "
            "was written (asvit export --tolerance allows more)"
        )
    return quantisation


def _right_answers(
    graphs: Sequence[_Graph], pictures: LabelledImages, progress: Callable[[str], None]
) -> list[Array]:
    """Of each graph, whether its answer is right, ``[readable pictures]``."""
    right: list[list[Array]] = [[] for _ in graphs]
    count = len(pictures)
    progress(f"judging both copies on {count:,} pictures")
    last, prepare = 0, graphs[0].prepare  # all take pictures alike
    for some in _parts(_readable(pictures, range(count), prepare)):
        labels = pictures.labels[[index for index, _ in some]]
        for graph, answers in zip(graphs, right, strict=True):
            answers.append(graph.classes([image for _, image in some]) == labels)
        if (done := some[-1][0] + 1) - last >= _EVERY and done < count:
            progress(f"judged both on {done:,} of {count:,}")
            last = done
    if not right[0]:
        raise ValueError(f"no picture to judge by can be read: {pictures.source}")
    return [np.concatenate(answers) for answers in right]


class _Graph:
    """An ONNX file that classifies pictures, by ONNX Runtime."""

    def __init__(self, path: Path, content: WeightsFile) -> None:
        session = onnx_session(path, threads=torch.get_num_threads())
        self._content, self._run = content, run_onnx(session)
        self._alone, self._batch = takes_pictures(session), fixed_batch(session)
        self.prepare: Prepare = np.asarray if self._alone else _prepared(content)

    def classes(self, images: Sequence[Array]) -> Array:
        """The likeliest class of each prepared picture."""
        likeliest = [self._run(part).argmax(1) for part in batches(images, self._batch or _BATCH)]
        return np.concatenate(likeliest)[: len(images)]

    def latency(self) -> Latency:
        """The time of a batch, or of a picture that is half as large again as the network's."""
        network, batch = self._content.network, self._batch or 1
        side = network.image_size
        shape: tuple[int, ...] = (batch, *network.image_shape)
        numbers = "float32"
        if self._alone:
            shape = (1, side * 3 // 2, side * 3 // 2, network.in_chans)
            numbers = self._content.preparation.kind.dtype
        example = np.zeros(shape, numbers)
        images = torch.from_numpy(example)
        return replace(
            time_passes(lambda: self._run(example), images, runtime="onnx"), image_size=side
        )


def _prepared(content: WeightsFile) -> Prepare:
    """Pictures as a network takes them, ``[C, side, side]`` float32."""
    prepare = content.preparation
    return lambda picture: prepare(picture).numpy()


def _readable(
    pictures: LabelledImages, indices: Sequence[int], prepare: Prepare
) -> Iterator[tuple[int, Array]]:
    """Those of the pictures that can be read, prepared by threads; a warning names the others."""

    def read(index: int) -> Array:
        return prepare(pictures.picture(index))

    for index, image in zip(indices, in_order(or_reason(read), indices), strict=True):
        if isinstance(image, str):
            logger.warning("left out: %s", image)
        else:
            yield index, image


def _parts(pictures: Iterator[T]) -> Iterator[list[T]]:
    """Parts of what may be too much for the memory."""
    while part := list(islice(pictures, _BATCH)):
        yield part

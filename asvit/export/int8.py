"""Which pictures quantise a network, and what 8-bit integers cost it in accuracy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from asvit.core.files import split_reading
from asvit.core.results import stored_content
from asvit.core.run_files import PICTURES, RESULT
from asvit.core.running import by_onnx, fixed_batch, onnx_session, takes_pictures
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
from asvit.use.trained_on import count_trained, images_of
from proxies.text import listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asvit.data.kinds import Picture

    Array = NDArray[Any]
    Prepare = Callable[[Picture], Array]

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
            f"{weights or 'random weights'} do not say which pictures they were trained on; name "
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
    readable, last = _readable(pictures, range(count), graphs[0].prepare), 0  # both take them so
    while part := list(islice(readable, _BATCH)):
        labels = pictures.labels[[place for place, _ in part]]
        for graph, answers in zip(graphs, right, strict=True):
            answers.append(graph.classes([image for _, image in part]) == labels)
        if (done := part[-1][0] + 1) - last >= _EVERY and done < count:
            progress(f"judged both on {done:,} of {count:,}")
            last = done
    if not right[0]:
        raise ValueError(f"no picture to judge by can be read: {pictures.source}")
    return [np.concatenate(answers) for answers in right]


class _Graph:
    """An ONNX file that classifies pictures, by ONNX Runtime."""

    def __init__(self, path: Path, content: WeightsFile) -> None:
        session = onnx_session(path, threads=torch.get_num_threads())
        self._content, self._run = content, by_onnx(session)
        self._alone, self._batch = takes_pictures(session), fixed_batch(session)
        self.prepare: Prepare = np.asarray if self._alone else _prepared(content)

    def classes(self, images: Sequence[Array]) -> Array:
        """The likeliest class of each prepared picture."""
        likeliest = [self._run(part).argmax(1) for part in batches(images, self._batch or _BATCH)]
        return np.concatenate(likeliest)[: len(images)]

    def latency(self) -> Latency:
        """The time of a batch, or of a picture that is half as large again as the network's."""
        network, batch = self._content.network, self._batch or 1
        side, numbers = network.image_size, "float32"
        shape: tuple[int, ...] = (batch, *network.image_shape)
        if self._alone:
            shape = (1, side * 3 // 2, side * 3 // 2, network.in_chans)
            numbers = self._content.preparation.kind.dtype
        example = np.zeros(shape, numbers)
        images = torch.from_numpy(example)
        time = time_passes(lambda: self._run(example), images, runtime="onnx")
        return replace(time, image_size=side)


def _prepared(content: WeightsFile) -> Prepare:
    """Pictures as a network takes them, ``[C, side, side]`` float32."""
    prepare = content.preparation
    return lambda picture: prepare(picture).numpy()


def _readable(
    pictures: LabelledImages, places: Sequence[int], prepare: Prepare
) -> Iterator[tuple[int, Array]]:
    """Those of the pictures that can be read, prepared by threads; a warning names the others."""

    def read(place: int) -> Array:
        return prepare(pictures.picture(place))

    for place, image in zip(places, in_order(or_reason(read), places), strict=True):
        if isinstance(image, str):
            logger.warning("left out: %s", image)
        else:
            yield place, image

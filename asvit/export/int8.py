"""8-bit integers: quantises an ONNX graph on some pictures, and judges it on others."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from asvit.core.files import split_reading
from asvit.core.results import kind_in, stored_content
from asvit.core.run_files import PICTURES, RESULT
from asvit.core.running import INPUT, by_onnx, onnx_session, takes_pictures
from asvit.core.threads import in_order, or_reason
from asvit.core.versions import missing
from asvit.data.base import TEST, TRAIN, LabelledImages, balanced_choice, numbered_as
from asvit.data.tables import is_table, open_table, table_parts
from asvit.data.training_sets import open_training_sets
from asvit.measuring.latency import Latency
from asvit.measuring.timing import time_passes
from asvit.networks import WeightsFile
from asvit.statistics.intervals import paired_difference
from asvit.training.loaders import open_sets
from asvit.training.result import TrainResult
from asvit.use.predicting import open_classifier
from asvit.use.trained_on import count_trained, images_of
from proxies.messages import first_line
from proxies.text import listed

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[Any]

logger = logging.getLogger(__name__)

_SEED = 0  # of the pictures that are chosen
_CALIBRATION = 128  # pictures that ranges of activations are taken from; our choice
_AT_ONCE = 8  # of these at most, whose activations are in memory together
_BATCH = 32  # pictures in a batch of a graph that takes any number
_UNREAD = -1  # in the place of a class

# In a network with one of these, activations between products have outliers, which 8 bits hold
# badly: its products alone are quantised. Others stay in 8 bits from product to product.
# ShiftViT's norm is an InstanceNormalization, which ONNX Runtime cannot quantise as exported.
_OF_TRANSFORMERS = {"LayerNormalization", "Softmax", "InstanceNormalization"}
_PRODUCTS = ["Conv", "Gemm", "MatMul"]


@dataclass(frozen=True)
class Quantisation:
    """What 8-bit integers cost and save, on pictures that the network was not trained on."""

    calibrated: int  #: pictures that ranges were taken from
    pictures: int  #: pictures that both copies were judged on
    source: str  #: these, in words
    accuracy: float  #: of the quantised copy, per cent
    accuracy_before: float  #: of the copy in float32
    difference: float  #: points, below 0 where accuracy is lost
    interval: tuple[float, float]  #: its 95 % interval over pictures (Newcombe's, paired)
    tolerance: float  #: points that it might lose
    size: int  #: bytes of the file
    size_before: int
    latency: Latency  #: by ONNX Runtime, of one image or picture
    latency_before: Latency

    @property
    def in_words(self) -> str:
        """The difference, and what it does not exclude."""
        low, high = self.interval
        text = (
            f"{self.difference:+.1f} points [{low:+.1f}, {high:+.1f}] of accuracy on "
            f"{self.pictures} pictures"
        )
        if -low > self.tolerance:
            text += f"; with so few, a loss of {-low:.1f} is not excluded"
        return text


class Pictures(NamedTuple):
    """Pictures of a network's classes."""

    trained: LabelledImages  # ranges are taken from these
    others: LabelledImages  # the network was not trained on these


def labelled_pictures(data: str | None, weights: Path | None, content: WeightsFile) -> Pictures:
    """The pictures that a network was trained on, and others.

    ``data`` names them as for a training; without it, they are those of the run that the file
    ``weights`` is of. A ValueError says if they are not known, are not the same any more, or are
    of other classes or of another kind.
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
    folder = None if weights is None else weights.parent
    kind = None if folder is None else kind_in(folder)
    if folder is None or kind not in ("training", "design") or not (folder / RESULT).exists():
        raise ValueError(
            f"{weights or 'the weights'} do not say which pictures they were trained on; name "
            "some with --data"
        )
    if kind == "design":
        settings = stored_content(folder / RESULT)["settings"]
        return _of_table(folder / PICTURES, split_reading(settings["data"])[1])
    result = TrainResult.read(folder / RESULT)
    s = result.settings
    if s.train_on_validation:
        table = images_of(folder, s.data)
        if is_table(table) and TEST in table_parts(table):
            return _of_table(table, split_reading(s.data)[1])
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


def _of_table(table: Path, reading: str) -> Pictures:
    """The pictures of a table to train on, and those that it sets aside for a test."""
    return Pictures(*(open_table(table, part, reading=reading) for part in (TRAIN, TEST)))


def calibration(content: WeightsFile, pictures: LabelledImages) -> Sequence[Array]:
    """Some pictures of each class as a network takes them, ``[C, side, side]`` each."""
    count, prepare = min(_CALIBRATION, len(pictures)), content.preparation
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


def quantised(graph: onnx.ModelProto, images: Sequence[Array]) -> onnx.ModelProto:
    """A graph with 8-bit weights, a scale for each output channel, and 8-bit activations.

    Activations are unsigned and weights signed, which ONNX Runtime multiplies fast on x86 and ARM;
    it leaves out the farthest 1e-5 of their values. Weights use 7 of their bits, as with 8 the
    sum of two products can exceed the 16 bits that x86 processors without VNNI have for it. The
    form is QDQ, which other runtimes read.

    Ranges of activations are taken from ``images``, ``[channels, side, side]`` float32 each, as
    the network takes them.

    Raises:
        ValueError: If ONNX Runtime cannot quantise the graph.
    """
    import onnx
    from onnxruntime import quantization

    at_once = max(part for part in range(1, _AT_ONCE + 1) if len(images) % part == 0)
    transformer = not _OF_TRANSFORMERS.isdisjoint(node.op_type for node in graph.graph.node)
    with TemporaryDirectory(prefix="asvit-int8-") as folder, _quiet():
        exact, prepared, result = (Path(folder, f"{name}.onnx") for name in ("a", "b", "c"))
        onnx.save(graph, exact)
        try:
            quantization.quant_pre_process(exact, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                result,
                _Reader(images),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=_PRODUCTS if transformer else None,
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.Percentile,
                extra_options={"CalibStridedMinMax": at_once},
            )
        except Exception as error:  # they have no common base
            raise ValueError(
                f"ONNX Runtime cannot quantise this network: {first_line(error)}"
            ) from error
        return onnx.load(result)


class _Reader:
    """Images as ONNX Runtime asks for them, one by one."""

    def __init__(self, images: Sequence[Array]) -> None:
        self._images = images
        self.set_range(0, len(images))

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these."""
        self._rest = iter(self._images[start_index:end_index])

    def get_next(self) -> dict[str, Array] | None:
        """The next image as the graph's input; None after the last."""
        image = next(self._rest, None)
        return None if image is None else {INPUT: image[None]}


def check_quantiser() -> None:
    """Check that what the quantiser imports is installed; an ImportError names what is not."""
    try:
        import onnxruntime.quantization  # noqa: F401
    except ImportError as error:
        raise missing("int8", error.name or "onnxruntime", "export") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's lines off stdout, and its warnings off the root logger."""
    root, silent = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(silent)  # without a handler, logging would set one up
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.removeHandler(silent)
        root.setLevel(level)


def judge(
    before: Path,
    after: Path,
    *,
    content: WeightsFile,
    pictures: LabelledImages,
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
    progress(f"judging both copies on {len(pictures):,} pictures")
    known, new = _answers(before, pictures), _answers(after, pictures)
    readable = known != _UNREAD
    if not readable.any():
        raise ValueError(f"no picture to judge by can be read: {pictures.source}")
    right_before, right = ((one == pictures.labels)[readable] for one in (known, new))
    difference = paired_difference(right, right_before).per_cent
    quantisation = Quantisation(
        calibrated=calibrated,
        pictures=int(readable.sum()),
        source=pictures.source,
        accuracy=100 * float(right.mean()),
        accuracy_before=100 * float(right_before.mean()),
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


def _answers(path: Path, pictures: LabelledImages) -> Array:
    """Place of the class that an ONNX file takes each picture for; ``_UNREAD`` without one."""
    classifier = open_classifier(str(path), torch.device("cpu"))
    names = [str(pictures.path(at) or pictures.name(at)) for at in range(len(pictures))]
    answers = np.full(len(names), _UNREAD)
    for place, row in enumerate(classifier.logits(names, pictures.picture, _BATCH)):
        if isinstance(row, str):
            logger.warning("left out: %s", row)
        else:
            answers[place] = row.numpy().argmax()
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

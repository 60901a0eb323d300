"""Static quantisation of an ONNX graph to 8-bit integers, by ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.running import INPUT
from asvit.core.versions import missing
from asvit.measuring.latency import Latency
from proxies.messages import first_line

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

#: Pictures that ranges of activations are taken from. Our choice.
CALIBRATION = 128
_AT_ONCE = 8  # of these, or one batch, whose activations are in memory together

# In a network with one of these, activations between products have outliers, which 8 bits hold
# badly: its products alone are quantised. Others stay in 8 bits from product to product.
# ShiftViT's norm is an InstanceNormalization, which ONNX Runtime cannot quantise as exported.
_OF_TRANSFORMERS = {"LayerNormalization", "Softmax", "InstanceNormalization"}
_PRODUCTS = ("Conv", "Gemm", "MatMul")


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


def quantised(graph: onnx.ModelProto, images: Sequence[NDArray[Any]]) -> onnx.ModelProto:
    """A graph with 8-bit weights, a scale for each output channel, and 8-bit activations.

    Activations are unsigned and weights signed, which ONNX Runtime multiplies fast on x86 and ARM;
    it leaves out the farthest 1e-5 of their values. Weights use 7 of their bits, as with 8 the
    sum of two products can exceed the 16 bits that x86 processors without VNNI have for it. The
    form is QDQ, which other runtimes read.

    Args:
        graph: Of a network, as :func:`asvit.export.writers.onnx_graph` makes it.
        images: What ranges of activations are taken from: batches ``[n, channels, side, side]``
            float32, as the network takes them.

    Raises:
        ImportError: If a library is missing.
        ValueError: If ONNX Runtime cannot quantise the graph.
    """
    check_quantiser()
    import onnx
    from onnxruntime import quantization

    most = max(1, _AT_ONCE // len(images[0]))
    at_once = max(part for part in range(1, most + 1) if len(images) % part == 0)
    transformer = not _OF_TRANSFORMERS.isdisjoint(node.op_type for node in graph.graph.node)
    with tempfile.TemporaryDirectory(prefix="asvit-int8-") as folder, _quiet():
        exact, prepared, result = (Path(folder, f"{name}.onnx") for name in ("a", "b", "c"))
        onnx.save(graph, exact)
        try:
            quantization.quant_pre_process(exact, prepared, skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                result,
                _Reader(images),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(_PRODUCTS) if transformer else None,
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
    """Batches as ONNX Runtime asks for them."""

    def __init__(self, images: Sequence[NDArray[Any]]) -> None:
        self._images = images
        self.set_range(0, len(images))

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these."""
        self._rest = iter(self._images[start_index:end_index])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch as the graph's input; None after the last."""
        batch = next(self._rest, None)
        return None if batch is None else {INPUT: batch}


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

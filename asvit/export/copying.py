"""Copies of a network, written and verified before they are put in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from asvit.data.preparation import Preparation
from asvit.export.comparison import TOLERANCE, Difference, Example, compare, noise
from asvit.export.formats import Format
from asvit.export.quantisation import Quantisation, check_quantiser, quantised
from asvit.export.settings import ExportSettings
from asvit.export.writers import facts_of, graph_of, write_copy, write_graph
from asvit.networks import WeightsFile

if TYPE_CHECKING:
    import onnx

_BATCHES = (1, 3)  # other sizes than the graphs are traced with
_SIZES = ((0.71, 1.13), (2.3, 1.57))  # of pictures, over the side of the network's images


class Written(NamedTuple):
    """What is known of a copy that has been written and verified."""

    differences: tuple[Difference, ...]
    opset: int | None = None
    quantisation: Quantisation | None = None


def write_verified(
    settings: ExportSettings,
    form: Format,
    path: Path,
    *,
    model: nn.Module,
    content: WeightsFile,
    weights: Path | None,
    tell: Callable[[str], None],
) -> Written:
    """Write a copy to ``path``, reload it in a new process, and compare it with the network.

    The ``model``, on the CPU and in evaluation mode, is that of ``content``; ``weights`` is the
    file that they are of. Of a copy in 8-bit integers, the one in float32 is compared, and both
    are judged on pictures.

    Raises:
        ValueError: If it differs from the network, or loses more than it may.
    """
    examples: Sequence[Example] = noise(content.network.image_shape, _BATCHES)
    if form.name != "onnx":
        tell(f"writing {form.name}")
        write_copy(form, path, model=model, content=content)
        return Written(_compared(model, form, path, examples, tell))
    batch = 1 if settings.with_preprocessing else None
    if settings.with_preprocessing:
        examples = _pictures(content.preparation)

    def finished(graph: onnx.ModelProto) -> onnx.ModelProto:
        """The graph, which prepares pictures itself if asked to."""
        if not settings.with_preprocessing:
            return graph
        from asvit.export.preprocessing import with_preprocessing  # imports ONNX

        return with_preprocessing(graph, content.preparation)

    if not settings.int8:
        tell(f"writing {form.name}")
        graph, about = graph_of(model, content, batch=batch), facts_of(content)
        opset = write_graph(finished(graph), path, about=about)
        return Written(_compared(model, form, path, examples, tell), opset)
    from asvit.export import int8  # opens pictures as trainings do

    check_quantiser()
    pictures = int8.labelled_pictures(settings.data, weights, content)
    tell(f"writing {form.name}")
    graph, about = graph_of(model, content, batch=batch), facts_of(content)
    with TemporaryDirectory(prefix="asvit-export-") as folder:
        exact = Path(folder, "float32.onnx")
        write_graph(finished(graph), exact, about=about)
        differences = _compared(model, form, exact, examples, tell)
        images = int8.calibration(content, pictures.trained)
        tell(f"quantising with {len(images)} pictures")
        small = finished(quantised(graph, list(int8.batches(images, batch or 1))))
        opset = write_graph(small, path, about=about)
        quantisation = int8.judge(
            exact,
            path,
            content=content,
            pictures=pictures,
            calibrated=len(images),
            tolerance=settings.tolerance,
            progress=tell,
        )
    return Written(differences, opset, quantisation)


def _compared(
    model: nn.Module,
    form: Format,
    path: Path,
    examples: Sequence[Example],
    tell: Callable[[str], None],
) -> tuple[Difference, ...]:
    """The differences between a copy and the network, none of them too large."""
    tell("comparing the copy with the network, in a fresh process")
    differences = compare(model, form, path, examples)
    for difference in differences:
        if not difference.equal:
            raise ValueError(
                f"the copy is not equal: on {difference.batch} image(s) outputs differ by "
                f"{difference.relative:.2g} of the largest, more than {TOLERANCE:g}; nothing "
                "was written"
            )
    return differences


def _pictures(prepare: Preparation) -> Sequence[Example]:
    """Pictures of odd sizes, for a copy that prepares them."""
    rng, side, kind = np.random.default_rng(0), prepare.image_size, prepare.kind
    sizes = [(max(1, round(high * side)), max(1, round(wide * side))) for high, wide in _SIZES]
    arrays = [rng.integers(0, 100, (*size, kind.channels)).astype(kind.dtype) for size in sizes]
    read = Image.fromarray if kind.picture else np.asarray
    return [(torch.from_numpy(array)[None], prepare(read(array))[None]) for array in arrays]

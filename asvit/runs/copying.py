"""Copies of a network, written and verified before they are put in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from asvit.export.comparison import TOLERANCE, Difference, Example, compare, noise
from asvit.export.formats import Format
from asvit.export.quantisation import Quantisation, check_quantiser, quantised
from asvit.export.settings import ExportSettings
from asvit.export.writers import facts_of, graph_of, write_copy, write_graph
from asvit.networks import WeightsFile
from asvit.runs.quantising import batches, calibration, judge, labelled_pictures

if TYPE_CHECKING:
    import onnx

    from asvit.export.writers import Change

_BATCHES = (1, 3)  # other sizes than the graphs are traced with
_SIZES = ((0.71, 1.13), (2.3, 1.57))  # of pictures, over the side of the network's images


class Written(NamedTuple):
    """What is known of a copy that has been written and verified."""

    opset: int | None
    differences: tuple[Difference, ...]
    quantisation: Quantisation | None


@dataclass(frozen=True)
class Copies:
    """Writes and verifies a copy; where it is quantised, one in float32 before."""

    settings: ExportSettings
    form: Format
    content: WeightsFile
    model: nn.Module
    weights: Path | None
    tell: Callable[[str], None]

    def write(self, path: Path) -> Written:
        """Write the copy to ``path``.

        Raises:
            ValueError: If it differs from the network, or loses more than it may.
        """
        if not self.settings.int8:
            return self._exact(path)
        s, content = self.settings, self.content
        check_quantiser()
        pictures = labelled_pictures(s.data, self.weights, content)
        with TemporaryDirectory(prefix="asvit-export-") as folder:
            before = Path(folder, "float32.onnx")
            written = self._exact(before)
            images = calibration(content, pictures.trained)
            self.tell(f"quantising with {len(images)} pictures")
            inputs = list(batches(images, self._batch or 1))
            opset = self._to(path, self._changes(partial(quantised, images=inputs)))
            quantisation = judge(
                before,
                path,
                content=content,
                pictures=pictures,
                calibrated=len(images),
                tolerance=s.tolerance,
                progress=self.tell,
            )
        return Written(opset, written.differences, quantisation)

    def _exact(self, path: Path) -> Written:
        """Write a copy with the network's outputs."""
        self.tell(f"writing {self.form.name}")
        opset = self._to(path, self._changes())
        self.tell("comparing the copy with the network, in a fresh process")
        differences = compare(self.model, self.form, path, self._examples())
        for difference in differences:
            if not difference.equal:
                raise ValueError(
                    f"the copy is not equal: on {difference.batch} image(s) outputs differ by "
                    f"{difference.relative:.2g} of the largest, more than {TOLERANCE:g}; nothing "
                    "was written"
                )
        return Written(opset, differences, None)

    @property
    def _batch(self) -> int | None:
        return 1 if self.settings.with_preprocessing else None

    def _to(self, path: Path, changes: Sequence[Change]) -> int | None:
        content = self.content
        if self.settings.int8:  # two copies are made of one graph, which takes long to write
            return write_graph(self._graph, path, about=facts_of(content), changes=changes)
        how: Any = {"batch": self._batch, "changes": changes}
        return write_copy(self.form, path, model=self.model, content=content, **how)

    @cached_property
    def _graph(self) -> onnx.ModelProto:
        return graph_of(self.model, self.content, batch=self._batch)

    def _changes(self, *first: Change) -> Sequence[Change]:
        """Those of the network's graph."""
        if not self.settings.with_preprocessing:
            return first
        from asvit.export.preprocessing import with_preprocessing

        return *first, partial(with_preprocessing, how=self.content.preparation)

    def _examples(self) -> Sequence[Example]:
        """Images to compare with: noise, or pictures of odd sizes where the copy prepares them."""
        side = self.content.network.image_size
        if not self.settings.with_preprocessing:
            return noise(self.content.network.image_shape, _BATCHES)
        prepare = self.content.preparation
        rng = np.random.default_rng(0)
        sizes = [(max(1, round(high * side)), max(1, round(wide * side))) for high, wide in _SIZES]
        kind = prepare.kind
        arrays = [
            rng.integers(0, 100, (*size, kind.channels)).astype(kind.dtype) for size in sizes
        ]
        read = Image.fromarray if kind.picture else np.asarray
        return [(torch.from_numpy(array)[None], prepare(read(array))[None]) for array in arrays]

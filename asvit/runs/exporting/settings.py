"""What an export is asked to do."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass

from asvit.export.formats import FORMATS
from asvit.export.writers import check_opset
from asvit.settings import Settings, check_whole

_AT_LEAST = {"image_size": 1, "num_classes": 0, "branches": 0, "batch": 1, "opset": 1}
_GRAPHS = ("onnx", "pt2")
_SPELLED = {"num_classes": "classes"}  # options that are not called as their field


@dataclass(frozen=True)
class ExportSettings(Settings):
    """Settings of an export.

    Attributes:
        to: Format: ``"timm"``, ``"onnx"``, ``"pt2"`` or ``"safetensors"``.
        architecture: Text of any space or family, or ``"timm:NAME"``; None where the file of
            weights says it. A file or a run folder in its place is taken for ``weights``.
        weights: File of weights, or run folder of a training; None for random ones.
        random: Whether freshly initialised weights are asked for.
        out: File, or folder for timm; None for a name beside the weights.
        image_size: Side of the images in pixels; None for that of the file, else 224. Position
            embeddings are resampled.
        num_classes: Classes; None for those of the weights, else 1000.
        attention: ``"hallucinated"``; None where the file says it, or for the architecture's own.
        ffn: ``"compact"``; the same.
        branches: Branches of compact parts; None where the file says it, else 0.
        merge: Whether branches are merged first, for inference.
        batch: Images in a batch of an ONNX file or a program; None for any number.
        opset: Operator set of an ONNX file, at least 18; None for PyTorch's default.
        card: Whether a model card is written.
        force: Whether a copy that is there is replaced.

    Raises:
        ValueError: If a value is out of its range, or values contradict each other.
    """

    to: str
    architecture: str | None = None
    weights: str | None = None
    random: bool = False
    out: str | None = None
    image_size: int | None = None
    num_classes: int | None = None
    attention: str | None = None
    ffn: str | None = None
    branches: int | None = None
    merge: bool = True
    batch: int | None = None
    opset: int | None = None
    card: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        form = FORMATS[self.to]
        given = {name: n for name, n in _AT_LEAST.items() if getattr(self, name) is not None}
        check_whole(self, given)
        if self.batch is not None and form.name not in _GRAPHS:
            raise ValueError(f"batch={self.batch} is for onnx and pt2; {form.name} takes any")
        if self.opset is not None and form.name != "onnx":
            raise ValueError(f"opset={self.opset} is for onnx; {form.name} has none")
        check_opset(self.opset)
        if self.random and self.weights is not None:
            raise ValueError(f"weights={self.weights!r} and random ones are asked for; name one")
        if not self.random and self.weights is None and self.architecture is None:
            raise ValueError("nothing to export; name a file of weights or a run folder")
        if self.random and self.architecture is None:
            raise ValueError("random weights of which network? name the architecture")
        if self.random and self.out is None:
            raise ValueError("a network with random weights needs a name for its copy; give --out")

    @property
    def command(self) -> str:
        """The command line that asks for the same."""
        words = ["asvit", "export", *([self.architecture] if self.architecture else [])]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            option = _SPELLED.get(field.name, field.name).replace("_", "-")
            if field.name in ("architecture", "force") or value == field.default:
                continue
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            else:
                words += [f"--{option}", str(value)]
        return shlex.join(words)

"""The result of an export, and the Python code that loads the copy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asvit.export.comparison import TOLERANCE, Difference
from asvit.export.formats import INPUT, WEIGHTS, Format
from asvit.export.timm_folder import timm_arguments
from asvit.networks import Network, WeightsFile
from proxies.counts import Cost

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Exported:
    """A verified copy of a network.

    Attributes:
        content: The exported network, its weights and facts.
        form: Format of the copy.
        out: Path of the copy.
        cost: Parameters, and multiply-adds of one image.
        weights: File of the weights; None for random ones.
        trained_size: Image size that the file of weights was trained for, in pixels; None if it
            does not record it.
        batch: Images in a batch of a graph; None for any number.
        opset: Operator set of an ONNX graph; None for other formats.
        differences: Results of the comparisons with the network.
        card: Path of the model card; None for none.
        versions: Versions of the libraries involved.
        command: The command that repeats the export.
    """

    content: WeightsFile
    form: Format
    out: Path
    cost: Cost
    weights: Path | None
    trained_size: int | None
    batch: int | None
    opset: int | None
    differences: tuple[Difference, ...]
    card: Path | None
    versions: Mapping[str, str]
    command: str

    def loading_code(self, place: str) -> str:
        """Python code that loads the copy from ``place`` and runs it."""
        return loading_code(self.form.name, place, self.content.network, batch=self.batch or 1)

    def to_json(self) -> dict[str, Any]:
        """The output of ``--json``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "format": self.form.name,
            "out": str(self.out),
            "card": None if self.card is None else str(self.card),
            "network": self.content.network.to_json(),
            "classes": list(self.content.classes),
            "facts": dict(self.content.facts),
            **asdict(self.cost),
            "weights": None if self.weights is None else str(self.weights),
            "trained_size": self.trained_size,
            "batch": self.batch,
            "opset": self.opset,
            "differences": [asdict(one) for one in self.differences],
            "tolerance": TOLERANCE,
            "versions": dict(self.versions),
            "command": self.command,
            "load": self.loading_code(str(self.out)),
        }


def loading_code(name: str, place: str, network: Network, *, batch: int = 1) -> str:
    """Python code that loads the copy at ``place`` and runs it on images of zeros.

    Args:
        name: Name of the format.
        place: Path of the copy in the code.
        network: The exported network.
        batch: Number of images.
    """
    shape = (batch, 3, network.image_size, network.image_size)
    lines = {
        "onnx": _onnx(place, shape),
        "pt2": ["import torch", "", f"model = torch.export.load({_quoted(place)}).module()"],
        "safetensors": [
            "from pathlib import Path",
            "",
            "import torch",
            "from asvit.networks import WeightsFile",
            "",
            f"model = WeightsFile.read(Path({_quoted(place)})).load()",
        ],
        "timm": _timm(place, network),
    }[name]
    if name != "onnx":
        lines.append(f"logits = model(torch.zeros{shape})  # normalised images")
    return "\n".join(lines)


def _onnx(place: str, shape: tuple[int, ...]) -> list[str]:
    return [
        "import numpy as np",
        "import onnxruntime",
        "",
        f"session = onnxruntime.InferenceSession({_quoted(place)})",
        f"images = np.zeros({shape}, dtype=np.float32)  # normalised",
        f'(logits,) = session.run(None, {{"{INPUT}": images}})',
    ]


def _timm(place: str, network: Network) -> list[str]:
    name, arguments = timm_arguments(network)
    ours = ["import asvit  # its networks are then in timm's registry"] if name == "asvit" else []
    given = {"num_classes": network.num_classes, **arguments}
    return [
        *ours,
        "import timm",
        "import torch",
        "",
        f"model = timm.create_model({_quoted(f'local-dir:{place}')}, pretrained=True).eval()",
        "# The same without config.json:",
        "model = timm.create_model(",
        f"    {_quoted(name)},",
        *(f"    {key}={_quoted(value)}," for key, value in given.items()),
        f"    checkpoint_path={_quoted(f'{place}/{WEIGHTS}')},",
        ").eval()",
    ]


def _quoted(value: object) -> str:
    """A text or number as a Python literal, with double quotes."""
    return json.dumps(value, ensure_ascii=False)

"""A copy of a network, in any of the formats."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

from asvit._version import __version__
from asvit.export.formats import Format
from asvit.export.graphs import trace, write_onnx, write_pt2
from asvit.export.timm_folder import write_timm_folder
from asvit.networks import WeightsFile


def write_copy(
    form: Format,
    path: Path,
    *,
    model: nn.Module,
    content: WeightsFile,
    batch: int | None = None,
    opset: int | None = None,
) -> int | None:
    """Write a copy of the network at ``path``; nothing is proved yet.

    Args:
        form: The format.
        path: File, or folder for timm.
        model: The network, on the CPU and in evaluation mode.
        content: The same network as a file of weights.
        batch: Images in a batch of a graph; None for any number.
        opset: Operator set of an ONNX graph; None for PyTorch's default.

    Returns:
        The operator set of an ONNX graph; None for other formats.

    Raises:
        ValueError: If PyTorch cannot follow the network, or not write it so.
        OSError: If it cannot be written.
    """
    if form.name == "timm":
        write_timm_folder(content, model, path)
        return None
    if form.name == "safetensors":
        content.write(path)
        return None
    program = trace(model, image_size=content.network.image_size, batch=batch)
    if form.name == "onnx":
        return write_onnx(program, path, about=about(content), opset=opset)
    write_pt2(program, path, about=about(content))
    return None


def about(content: WeightsFile) -> str:
    """What a graph says about its network: JSON, as the header of a file of weights has it."""
    known = {
        "asvit": __version__,
        "network": content.network.to_json(),
        "classes": list(content.classes),
        "facts": dict(content.facts),
    }
    return json.dumps(known, allow_nan=False)

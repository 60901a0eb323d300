"""Copies that hold the computation itself: a torch.export program, and an ONNX graph of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from asvit._files import write_bytes
from asvit.export.formats import INPUT, OUTPUT
from proxies.messages import first_line

if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: Operator sets of ONNX before this one are refused: PyTorch writes none of them, and where it
#: cannot convert it keeps a newer one without an error.
LEAST_OPSET: Final = 18

#: Name of what a copy says about the network, a JSON text: an entry of the metadata of an ONNX
#: file, and a file inside a torch.export program.
ABOUT: Final = "asvit.json"

_MOST_BYTES: Final = 2**31 - 2**24  # of an ONNX file, and room in it for the graph
_TRACED: Final = 2  # images: of one, the number would be taken for a constant


def trace(model: nn.Module, *, image_size: int, batch: int | None = None) -> ExportedProgram:
    """The computation of ``model`` for images of one size.

    Args:
        model: The network, in evaluation mode.
        image_size: Side of the images in pixels.
        batch: Images in a batch; None for any number.

    Raises:
        ValueError: If PyTorch cannot follow the network.
    """
    images = torch.zeros(batch or _TRACED, 3, image_size, image_size)
    shapes = None if batch else ({0: torch.export.Dim("batch")},)
    try:
        return torch.export.export(model, (images,), dynamic_shapes=shapes, strict=False)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"torch.export cannot follow this {type(model).__name__}: {first_line(error)}"
        ) from error


def write_pt2(program: ExportedProgram, path: Path, *, about: str) -> None:
    """Write the program at ``path``.

    Raises:
        OSError: If it cannot be written.
    """
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={ABOUT: about})
    write_bytes(path, content.getvalue())


def write_onnx(
    program: ExportedProgram, path: Path, *, about: str, opset: int | None = None
) -> int:
    """Write the program as an ONNX graph at ``path``, weights included.

    Args:
        program: From :func:`trace`.
        path: The file.
        about: JSON text that goes into the metadata.
        opset: Operator set, at least 18; None for PyTorch's default.

    Returns:
        The operator set it is written for.

    Raises:
        ValueError: If PyTorch cannot write the graph, or not for this operator set; or it is
            larger than an ONNX file may be.
        OSError: If it cannot be written.
    """
    check_opset(opset)
    size = sum(t.numel() * t.element_size() for t in program.state_dict.values())
    if size > _MOST_BYTES:
        raise ValueError(
            f"{size / 2**30:.1f} GiB of weights do not fit into an ONNX file, which holds 2; "
            "use pt2 or safetensors"
        )
    try:
        made = torch.onnx.export(
            program,
            dynamo=True,
            dynamic_shapes=({0: "batch"},),
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"PyTorch cannot write this network as ONNX: {error}") from error
    if made is None:
        raise TypeError("torch.onnx.export gave no program")
    graph = made.model_proto
    written = int(graph.opset_import[0].version)
    if opset is not None and written != opset:
        raise ValueError(f"PyTorch cannot write this network for opset {opset}, only {written}")
    entry = graph.metadata_props.add()
    entry.key, entry.value = ABOUT, about
    write_bytes(path, graph.SerializeToString())
    return written


def check_opset(opset: int | None) -> None:
    """Check that an operator set may be asked for.

    Raises:
        ValueError: If it is older than what PyTorch writes.
    """
    if opset is not None and opset < LEAST_OPSET:
        raise ValueError(f"opset must be at least {LEAST_OPSET}, got {opset}")

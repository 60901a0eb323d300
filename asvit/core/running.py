"""Runs a network on arrays: one of PyTorch, or an ONNX graph of ours by ONNX Runtime alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    Run = Callable[["NDArray[Any]"], "NDArray[Any]"]

#: Name of the JSON text about the network: a metadata entry of an ONNX file, and a file inside a
#: torch.export program.
ABOUT: Final = "asvit.json"

INPUT, OUTPUT = "images", "logits"  # of the graph in an ONNX file
IMAGE, PROBABILITIES = "image", "probabilities"  # of one that prepares pictures, besides


def by_torch(model: nn.Module, device: torch.device | str = "cpu") -> Run:
    """Runs a network on a device; images and outputs are on the CPU."""
    import torch

    model = model.to(device)

    def run(images: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return cast("NDArray[Any]", model(torch.from_numpy(images).to(device)).cpu().numpy())

    return run


def onnx_session(path: Path, *, threads: int = 0) -> Any:
    """An ONNX graph in ONNX Runtime, on the CPU, with so many threads; 0 for its own choice."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def by_onnx(session: Any) -> Run:
    """Runs a graph; one that prepares pictures takes one of them, ``[1, height, width, C]``."""
    alone = takes_pictures(session)

    def run(images: NDArray[Any]) -> NDArray[Any]:
        feed = {IMAGE: images[0]} if alone else {INPUT: images}
        return cast("NDArray[Any]", session.run(None, feed)[0])

    return run


def takes_pictures(session: Any) -> bool:
    """Whether a graph prepares pictures itself."""
    return any(tensor.name == IMAGE for tensor in session.get_inputs())

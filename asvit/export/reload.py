"""Reloads and runs an exported copy, in the new process that verifies it.

``python -m asvit.export.reload FORMAT PATH IMAGES OUTPUTS`` runs the copy at PATH on every tensor
of the safetensors file IMAGES, and writes the outputs to OUTPUTS under the same names.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safetensors.numpy import load_file, save_file

from asvit.export.formats import CONFIG, IMAGE, INPUT, WEIGHTS

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    Run = Callable[["NDArray[Any]"], "NDArray[Any]"]


def main(arguments: list[str]) -> None:
    """Run the copy; see the top of this module."""
    name, path, images, outputs = arguments
    run = _LOADERS[name](Path(path))
    save_file({key: run(batch) for key, batch in load_file(images).items()}, outputs)


def onnx_session(path: Path, *, threads: int = 0) -> Any:
    """An ONNX graph in ONNX Runtime, on the CPU, with so many threads; 0 for its own choice."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_onnx(session: Any) -> Run:
    """Runs an exported graph with ONNX Runtime alone, without PyTorch.

    One that prepares pictures takes a batch of one, ``[1, height, width, channels]``.
    """
    alone = takes_pictures(session)

    def run(images: NDArray[Any]) -> NDArray[Any]:
        feed = {IMAGE: images[0]} if alone else {INPUT: images}
        return cast("NDArray[Any]", session.run(None, feed)[0])

    return run


def takes_pictures(session: Any) -> bool:
    """Whether a graph prepares pictures itself."""
    return any(tensor.name == IMAGE for tensor in session.get_inputs())


def fixed_batch(session: Any) -> int | None:
    """Images in every batch of a graph; None for any number."""
    size = 1 if takes_pictures(session) else session.get_inputs()[0].shape[0]
    return size if isinstance(size, int) else None


def _pt2(path: Path) -> Run:
    """With PyTorch alone; the program needs none of our code."""
    import torch

    return by_torch(torch.export.load(path).module())


def _safetensors(path: Path) -> Run:
    from asvit.networks import WeightsFile

    return by_torch(WeightsFile.read(path).load())


def _timm(path: Path) -> Run:
    """With timm, in both ways of loading weights, which must agree to the last bit."""
    import numpy as np
    import timm

    folder = by_torch(timm.create_model(f"local-dir:{path}", pretrained=True).eval())
    config = json.loads((path / CONFIG).read_bytes())
    file = by_torch(
        timm.create_model(
            config["architecture"],
            num_classes=config["num_classes"],
            checkpoint_path=path / WEIGHTS,
            **config["model_args"],
        ).eval()
    )

    def run(images: NDArray[Any]) -> NDArray[Any]:
        outputs = folder(images)
        if not np.array_equal(outputs, file(images)):
            raise ValueError("timm builds different networks from local-dir and checkpoint_path")
        return outputs

    return run


def by_torch(model: nn.Module, device: torch.device | str = "cpu") -> Run:
    """Runs a network on a device; images and outputs are on the CPU."""
    import torch

    model = model.to(device)

    def run(images: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return cast("NDArray[Any]", model(torch.from_numpy(images).to(device)).cpu().numpy())

    return run


_LOADERS: Mapping[str, Callable[[Path], Run]] = {
    "onnx": lambda path: run_onnx(onnx_session(path)),
    "pt2": _pt2,
    "safetensors": _safetensors,
    "timm": _timm,
}

if __name__ == "__main__":
    main(sys.argv[1:])

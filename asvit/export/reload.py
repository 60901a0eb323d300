"""Reloads and runs an exported copy, in the new process that verifies it.

``python -m asvit.export.reload FORMAT PATH IMAGES OUTPUTS`` runs the copy at PATH on every tensor
of the safetensors file IMAGES, and writes the outputs to OUTPUTS under the same names.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.numpy import load_file, save_file

from asvit.core.running import by_onnx, by_torch, onnx_session
from asvit.export.formats import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asvit.core.running import Run


def main(arguments: list[str]) -> None:
    """Run the copy; see the top of this module."""
    name, path, images, outputs = arguments
    run = _LOADERS[name](Path(path))
    save_file({key: run(batch) for key, batch in load_file(images).items()}, outputs)


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


_LOADERS: Mapping[str, Callable[[Path], Run]] = {
    "onnx": lambda path: by_onnx(onnx_session(path)),
    "pt2": _pt2,
    "safetensors": _safetensors,
    "timm": _timm,
}

if __name__ == "__main__":
    main(sys.argv[1:])

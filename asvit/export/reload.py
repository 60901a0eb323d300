"""Reloads and runs an exported copy, in the new process that verifies it.

``python -m asvit.export.reload FORMAT PATH IMAGES OUTPUTS`` runs the copy at PATH on every tensor
of the safetensors file IMAGES, and writes the outputs to OUTPUTS under the same names.
"""

from __future__ import annotations

import json
import sys
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
    run = _load(name, Path(path))
    save_file({key: run(batch) for key, batch in load_file(images).items()}, outputs)


def _load(name: str, path: Path) -> Run:
    """A copy in a format; only the libraries that it needs are imported."""
    if name == "onnx":
        return by_onnx(onnx_session(path))
    if name == "timm":
        return _by_timm(path)
    if name == "pt2":
        import torch

        return by_torch(torch.export.load(path).module())
    from asvit.networks import WeightsFile

    return by_torch(WeightsFile.read(path).load())


def _by_timm(path: Path) -> Run:
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


if __name__ == "__main__":
    main(sys.argv[1:])

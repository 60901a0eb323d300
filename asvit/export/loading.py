"""Python that loads a copy, for those who get it: shown by the command and in the model card."""

from __future__ import annotations

import json

from asvit.export.formats import INPUT, WEIGHTS
from asvit.export.timm_folder import timm_arguments
from asvit.networks import Network


def loading_code(name: str, place: str, network: Network, *, batch: int = 1) -> str:
    """Lines that load the copy at ``place``, in the format ``name``, and run it.

    Args:
        name: Name of the format.
        place: The copy, as the code names it.
        network: What it is a copy of.
        batch: Images that it is run on.
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
    """A text or a number as Python has it, texts between double quotes."""
    return json.dumps(value, ensure_ascii=False)

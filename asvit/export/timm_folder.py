"""A folder for timm: weights, and a config.json with the name and arguments of the model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timm
from torch import nn

from asvit._files import write_text
from asvit.export.formats import CONFIG, WEIGHTS
from asvit.networks import Network, WeightsFile
from asvit.spaces.timm_models import PREFIX

#: Facts that timm uses to preprocess images, under the same names.
PREPARATION = ("mean", "std", "interpolation", "crop_pct")


def write_timm_folder(content: WeightsFile, model: nn.Module, folder: Path) -> None:
    """Write the folder, which ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads.

    Args:
        content: The network, its weights and facts.
        model: The same network, built.
        folder: The folder; created if missing.

    Raises:
        OSError: If it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    content.write(folder / WEIGHTS)
    text = json.dumps(config(content, model), indent=2, allow_nan=False)
    write_text(folder / CONFIG, text + "\n")


def config(content: WeightsFile, model: nn.Module) -> dict[str, Any]:
    """Content of config.json, in timm's form."""
    network = content.network
    name, arguments = timm_arguments(network)
    known = timm.get_pretrained_cfg(name).to_dict(remove_source=True)
    side = network.image_size
    entry = {
        **known,
        "input_size": [3, side, side],
        "num_classes": network.num_classes,
        "classifier": classifier_name(model) or known.get("classifier"),
        **{key: content.facts[key] for key in PREPARATION if key in content.facts},
    }
    entry.pop("test_input_size", None)
    labels = {"label_names": list(content.classes)} if content.classes else {}
    return {
        "architecture": name,
        "num_classes": network.num_classes,
        **labels,
        "model_args": arguments,
        "pretrained_cfg": entry,
    }


def timm_arguments(network: Network) -> tuple[str, dict[str, Any]]:
    """The timm name of the network, and its arguments besides the number of classes.

    An unconverted timm model keeps its own name, so that it loads without asvit.
    """
    if network.architecture.startswith(PREFIX) and network.attention is network.ffn is None:
        name = network.architecture.removeprefix(PREFIX).partition(".")[0]
        fixed = timm.get_pretrained_cfg(name).fixed_input_size
        return name, {"img_size": network.image_size} if fixed else {}
    parts = {
        name: value
        for name in ("attention", "ffn", "branches")
        if (value := getattr(network, name))
    }
    return "asvit", {
        "architecture": network.architecture,
        "img_size": network.image_size,
        **parts,
    }


def classifier_name(model: Any) -> str | None:
    """Name of the linear map to classes, which timm does not load for other classes.

    None if there is no single such map.
    """
    head = model.get_classifier() if hasattr(model, "get_classifier") else None
    if not isinstance(head, nn.Linear):
        return None
    modules: Iterable[tuple[str, nn.Module]] = model.named_modules()
    return next(name for name, module in modules if module is head)

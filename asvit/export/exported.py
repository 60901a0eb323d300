"""The result of an export: the code that loads the copy, and the model card in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from asvit.export.comparison import TOLERANCE, Difference
from asvit.export.formats import INPUT, WEIGHTS, Format
from asvit.export.writers import PREPARATION, timm_arguments
from asvit.networks import Network, WeightsFile
from proxies.counts import Cost
from proxies.messages import legible

SCHEMA_VERSION = 1

UNKNOWN: Final = "not recorded"

# Facts with a fixed place on the card.
_PLACED: Final = (
    *(*PREPARATION, "recipe", "epochs", "epoch", "images", "top1", "weights", "tokens"),
    *("command", "seconds", "found_by", "asvit"),
)

# Metadata for pages of published models; other readers show it as a table.
_FRONT: Final = """---
library_name: timm
tags:
- image-classification
---
"""

_WORDS: Final = {
    "mean": "mean",
    "std": "standard deviation",
    "interpolation": "resized by interpolation",
    "crop_pct": "share of the side that the centre crop keeps",
    "recipe": "recipe",
    "epochs": "epochs",
    "images": "images",
}


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


def model_card(exported: Exported) -> str:
    """The card; unknown facts are marked as not recorded."""
    front = _FRONT if exported.form.name == "timm" else ""
    parts = (
        ("Network", _network(exported)),
        ("Input", _input(exported)),
        ("Training", _training(exported)),
        ("How it was found", _finding(exported.content.facts.get("found_by"))),
        ("This copy", _copy(exported)),
        ("Loading", f"```python\n{exported.loading_code(exported.out.name)}\n```"),
        ("Made with", _making(exported)),
    )
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in parts)
    return f"{front}# {exported.out.stem}\n\n{body}\n"


def _network(exported: Exported) -> str:
    network, classes = exported.content.network, exported.content.classes
    points = {
        "architecture": f"`{network.architecture}`",
        "attention": network.attention,
        "feed-forward parts": network.ffn and f"{network.ffn}, {_form(network.branches)}",
        "parameters": f"{exported.cost.params:,}",
        "multiply-adds of one image": f"{exported.cost.macs:,} at {network.image_size} px",
        "classes": _classes(network.num_classes, classes),
    }
    return _list({name: value for name, value in points.items() if value is not None})


def _form(branches: int) -> str:
    return f"{branches} branches" if branches else "merged"


def _classes(count: int, names: tuple[str, ...]) -> str:
    if not count:
        return "none; the outputs are pooled features"
    return f"{count}: {', '.join(map(_plain, names))}" if names else f"{count}, names {UNKNOWN}"


def _input(exported: Exported) -> str:
    facts, side = exported.content.facts, exported.content.network.image_size
    return _list(
        {
            "shape": f"[batch, 3, {side}, {side}], RGB in 0 to 1, then normalised",
            **{_WORDS[name]: _text(facts.get(name)) for name in PREPARATION},
        }
    )


def _training(exported: Exported) -> str:
    facts = exported.content.facts
    if exported.weights is None:
        return "None: the weights are random. The copy is only useful for measuring speed."
    points = {
        "weights from": _code(str(exported.weights)),
        **{_WORDS[name]: _text(facts.get(name)) for name in ("recipe", "epochs", "images")},
        "accuracy": _accuracy(exported),
    }
    if facts.get("tokens"):
        points["last trained with tokens of stride and dilation"] = _text(facts["tokens"])
    if "command" in facts:
        points["command"] = _code(facts["command"])
    if "seconds" in facts:
        points["time"] = f"{facts['seconds']:,} s"
    others = {_plain(name): _text(fact) for name, fact in facts.items() if name not in _PLACED}
    return _list({**points, **others})


def _accuracy(exported: Exported) -> str:
    facts = exported.content.facts
    top1 = facts.get("top1")
    if not isinstance(top1, int | float):
        return UNKNOWN
    told = [f"top-1 {top1:.2f} % on the images held out for validation"]
    if "epoch" in facts:
        told.append(f"after epoch {facts['epoch']}")
    if facts.get("weights") == "average":
        told.append("of the moving average of the weights, which this copy has")
    if exported.trained_size not in (None, exported.content.network.image_size):
        told.append(f"at {exported.trained_size} px, not at the size of this copy")
    return ", ".join(told)


def _finding(found_by: Mapping[str, Any] | None) -> str:
    if not found_by:
        return f"{UNKNOWN.capitalize()}: the architecture was given as a text."
    return _list(
        {_plain(name.replace("_", " ")): _text(value) for name, value in found_by.items()}
    )


def _copy(exported: Exported) -> str:
    points = {"format": exported.form.name}
    if exported.form.name in ("onnx", "pt2"):
        points["batch"] = "any number of images" if exported.batch is None else str(exported.batch)
    if exported.opset is not None:
        points["operator set"] = f"{exported.opset}; its input is called `{INPUT}`"
    for one in exported.differences:
        points[f"largest difference from the network, batch of {one.batch}"] = (
            f"{one.absolute:.2g}, which is {one.relative:.2g} of the largest output"
            if one.absolute
            else "none, to the last bit"
        )
    points["allowed"] = f"{TOLERANCE:g} of the largest output, on random images"
    return _list(points)


def _making(exported: Exported) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in exported.versions.items())
    trained = exported.content.facts.get("asvit")
    points = {"versions": versions, "command": _code(exported.command)}
    if trained is not None:
        points["trained with"] = f"asvit {_plain(trained)}"
    return _list(points)


def _list(points: Mapping[str, str | None]) -> str:
    return "\n".join(f"* {name}: {text}" for name, text in points.items())


def _text(fact: object) -> str:
    """A fact as text; numbers and lists in JSON."""
    if fact is None:
        return UNKNOWN
    text = fact if isinstance(fact, str) else json.dumps(fact)
    return text if re.fullmatch(r"[\[\]0-9eE.,+ -]*", text) else _plain(text)  # a list of numbers


def _plain(text: str) -> str:
    """Text from a file on one line, with Markdown and HTML escaped."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", legible(" ".join(text.split())))


def _code(text: str) -> str:
    """Text from a file as inline code: fenced by more backticks than it contains."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{legible(' '.join(text.split()))}{space}{fence}"

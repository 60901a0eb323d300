"""What is said of an export: its result, the code that loads the copy, and the card beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import timm

from asvit.core.running import IMAGE, INPUT
from asvit.data.kinds import ImageKind
from asvit.data.preparation import PREPARATION
from asvit.export.comparison import TOLERANCE, Difference
from asvit.export.formats import WEIGHTS, Format
from asvit.export.writers import timm_arguments
from asvit.measuring.latency import time_in_words
from asvit.networks import WeightsFile
from proxies.counts import Cost
from proxies.text import legible

if TYPE_CHECKING:
    from asvit.export.int8 import Quantisation

SCHEMA_VERSION = 1

_UNKNOWN: Final = "not recorded"
_USUAL: Final = ("recipe", "epochs", "images")  # facts that every training has
# Facts that stand elsewhere on the card.
_PLACED: Final = (
    *(*PREPARATION, *_USUAL, "crop_mode", "ground", "pixels", "top1", "epoch"),
    *("train_on_validation", "found_by", "designed", "asvit"),
)

# Metadata for pages of published models; other readers show it as a table.
_FRONT: Final = """---
library_name: timm
license: unknown
tags:
- image-classification
---
"""

# Code that loads a copy, for each format.
_CODE: Final = {
    "onnx": """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({place})
images = np.zeros({shape}, dtype=np.float32)  # normalised
(logits,) = session.run(None, {{{input}: images}})""",
    "onnx, pictures": """\
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession({place})
# Of any size, the right way up; predict.py has what transparent pictures need.
picture = ImageOps.exif_transpose(Image.open("picture.jpg"))
image = np.array(picture.convert("RGB"))
logits, probabilities = session.run(None, {{{image}: image}})""",
    "onnx, arrays": """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({place})
image = np.load("image.npy")  # [height, width, channels] of any size
logits, probabilities = session.run(None, {{{image}: image}})""",
    "pt2": """\
import torch

model = torch.export.load({place}).module()
logits = model(torch.zeros{shape})  # normalised images""",
    "safetensors": """\
from pathlib import Path

import torch
from asvit.networks import WeightsFile

model = WeightsFile.read(Path({place})).load()
logits = model(torch.zeros{shape})  # normalised images""",
    "timm": """\
{ours}import timm
import torch

model = timm.create_model({folder}, pretrained=True).eval()
# The same without config.json:
model = timm.create_model(
    {name},
{arguments}    checkpoint_path={weights},
).eval()
logits = model(torch.zeros{shape})  # normalised images""",
}


@dataclass(frozen=True)
class Exported:
    """A verified copy of a network."""

    content: WeightsFile  # the exported network, its weights and facts, :func:`without_folders`
    form: Format  # format of the copy
    out: Path  # path of the copy
    cost: Cost  # parameters, and multiply-adds of one image
    weights: Path | None  # file of the weights; None for random ones
    trained_size: int | None  # pixels that the weights were trained for; None if not recorded
    batch: int | None  # images in a batch of a graph; None for any number
    opset: int | None  # operator set of an ONNX graph; None for other formats
    differences: tuple[Difference, ...]  # results of the comparisons with the network
    digests: Mapping[str, str]  # SHA-256 of every file of the copy but its card, by name
    card: Path | None  # path of the model card; None for none
    versions: Mapping[str, str]  # versions of the libraries involved
    command: str  # the command that repeats the export
    quantisation: Quantisation | None = None  # of a copy in 8-bit integers
    script: Path | None = None  # path of the script that runs a copy which prepares pictures

    def loading_code(self, place: str) -> str:
        """Python code that loads the copy from ``place`` and runs it on images of zeros."""
        network = self.content.network
        name, arguments = timm_arguments(network)
        settings = {"num_classes": network.num_classes, **arguments}
        ours = timm.models.model_entrypoint(name).__module__.startswith("asvit.")
        code = self.form.name
        if self.script is not None:
            pictures = self.content.preparation.kind.picture
            code = "onnx, pictures" if pictures else "onnx, arrays"
        return _CODE[code].format(
            place=_quoted(place),
            shape=(self.batch or 1, *network.image_shape),
            input=_quoted(INPUT),
            image=_quoted(IMAGE),
            ours="import asvit  # its networks are then in timm's registry\n" * ours,
            folder=_quoted(f"local-dir:{place}"),
            name=_quoted(name),
            arguments="".join(f"    {key}={_quoted(value)},\n" for key, value in settings.items()),
            weights=_quoted(f"{place}/{WEIGHTS}"),
        )

    def to_json(self) -> dict[str, Any]:
        """The output of ``--json``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "format": self.form.name,
            "out": str(self.out),
            "card": None if self.card is None else str(self.card),
            **self.content.description,
            **asdict(self.cost),
            "weights": None if self.weights is None else str(self.weights),
            "trained_size": self.trained_size,
            "batch": self.batch,
            "opset": self.opset,
            "differences": [asdict(difference) for difference in self.differences],
            "tolerance": TOLERANCE,
            "int8": None if self.quantisation is None else asdict(self.quantisation),
            "script": None if self.script is None else str(self.script),
            "sha256": dict(self.digests),
            "versions": dict(self.versions),
            "command": self.command,
            "load": self.loading_code(str(self.out)),
        }


def _quoted(value: object) -> str:
    """A value as a Python literal, printable texts with double quotes."""
    if not isinstance(value, str) or legible(value) != value:
        return repr(value)  # names of files may have lone surrogates, which UTF-8 cannot encode
    return json.dumps(value, ensure_ascii=False)


def without_folders(fact: Any) -> Any:
    """A fact of JSON types with every absolute path in its texts cut to its last part.

    Copies and cards are read on other machines.
    """
    if isinstance(fact, Mapping):
        return {name: without_folders(value) for name, value in fact.items()}
    if isinstance(fact, list):
        return [without_folders(value) for value in fact]
    if not isinstance(fact, str):
        return fact
    text = re.sub(r"\A(wds:|hf:|)/.*/(?=[^/]+\Z)", r"\1", fact)  # may have spaces, as the next
    text = re.sub(r"(?<=')(wds:|hf:|)/[^']*/(?=[^'/]+')", r"\1", text)
    return re.sub(r"(?<![^\s'\"=:])/(?:[^\s'\"/]+/)*(?=[^\s'\"/])", "", text)


def model_card(exported: Exported) -> str:
    """The card; unknown facts are marked as not recorded."""
    facts, trained = exported.content.facts, exported.weights is not None
    designed = facts.get("designed")
    found = "By `asvit design`." if designed else f"{_UNKNOWN}; the architecture was given"
    sections: dict[str, Mapping[str, object] | str] = {
        "Network": _network(exported),
        "Input": _input(exported),
        "Training": _training(exported) if trained else "None: the weights are random.",
        "How it was found": facts.get("found_by") or found,
        "Limits and what was measured": designed or "",
        "This copy": _copy(exported),
        "8-bit integers": _int8(exported),
        "Loading": f"```python\n{exported.loading_code(exported.out.name)}\n```",
        "Made with": {
            "versions": ", ".join(f"{name} {of}" for name, of in exported.versions.items()),
            "command": _Code(without_folders(exported.command)),
            "trained with": f"asvit {facts['asvit']}" if "asvit" in facts else None,
            "licence": _UNKNOWN,
        },
    }
    front = _FRONT if exported.form.name == "timm" else ""
    name = exported.out.stem if exported.form.suffix else exported.out.name  # of a folder
    body = "\n\n".join(
        f"## {title}\n\n{content if isinstance(content, str) else _points(content)}"
        for title, content in sections.items()
        if content
    )
    return f"{front}# {legible(name)}\n\n{body}\n"


def _network(exported: Exported) -> Mapping[str, object]:
    network, names = exported.content.network, exported.content.classes
    classes = f"{network.num_classes}: {', '.join(names) or f'names {_UNKNOWN}'}"
    return {
        "architecture": _Code(network.architecture),
        "attention": network.attention,
        "feed-forward parts": network.ffn and f"{network.ffn}, merged",
        "parameters": f"{exported.cost.params:,}",
        "multiply-adds of one image": f"{exported.cost.macs:,} at {network.image_size} px",
        "classes": classes if network.num_classes else "none; the outputs are pooled features",
    }


def _input(exported: Exported) -> Mapping[str, object]:
    network, facts = exported.content.network, exported.content.facts
    kind = ImageKind.of(facts.get("pixels", ""), network.in_chans)
    unit = "in 0 to 1" if kind.scale > 1 else "as files have them"
    pixels = f"{'RGB' if kind.picture else kind}, {unit}, then normalised by channel"
    shape = f"[batch, {', '.join(map(str, network.image_shape))}]"
    if exported.script is not None:
        shape = f"[height, width, {network.in_chans}]"
        pixels = f"as read, of a picture of any size; the graph prepares them: {pixels}"
    return {
        "shape": _Code(shape),
        "pixels": pixels,
        **{name: facts.get(name, _UNKNOWN) for name in PREPARATION},
        **{name: facts.get(name) for name in ("crop_mode", "ground")},
    }


def _training(exported: Exported) -> Mapping[str, object]:
    facts = exported.content.facts
    assert exported.weights is not None
    return {
        "weights from": _Code(exported.weights.name),
        **{name: facts.get(name, _UNKNOWN) for name in _USUAL},
        "accuracy": _accuracy(exported),
        **{
            name: _Code(fact) if name == "command" else fact
            for name, fact in facts.items()
            if name not in _PLACED
        },
    }


def _accuracy(exported: Exported) -> str | None:
    """The accuracy of the training; None where a design tells that of its test instead."""
    facts = exported.content.facts
    if "accuracy" in (facts.get("designed") or {}):
        return None
    if facts.get("train_on_validation"):
        return "not known: it was trained on its images for validation, too"
    if not isinstance(top1 := facts.get("top1"), int | float):
        return _UNKNOWN
    text = f"top-1 {top1:.2f} % on the images held out"
    if "epoch" in facts:  # of a training; inherited weights have that of a test
        text += f" for validation, after epoch {facts['epoch']}"
    if exported.trained_size not in (None, exported.content.network.image_size):
        text += f", at {exported.trained_size} px, not at the size of this copy"
    return text


def _copy(exported: Exported) -> Mapping[str, object]:
    batch = "any number of images" if exported.batch is None else str(exported.batch)
    opset = f"{exported.opset}; its input is called {IMAGE if exported.script else INPUT}"
    # Copies for one size of batch have two of that size: the larger one comes last, and counts.
    differences = {
        f"largest difference from the network, batch of {one.batch}": (
            f"{one.absolute:.2g}, which is {one.relative:.2g} of the largest output"
        )
        for one in sorted(exported.differences, key=attrgetter("batch", "absolute"))
    }
    before = ", before it was quantised" if exported.quantisation else ""
    return {
        "format": exported.form.name,
        "batch": batch if exported.form.name in ("onnx", "pt2") else None,
        "operator set": opset if exported.opset else None,
        **differences,
        "allowed": f"{TOLERANCE:g} of the largest output, on random images{before}",
        **{f"SHA-256 of {name}": _Code(text) for name, text in exported.digests.items()},
    }


def _int8(exported: Exported) -> Mapping[str, object]:
    if (int8 := exported.quantisation) is None:
        return {}
    times = [time_in_words(one.milliseconds) for one in (int8.latency, int8.latency_before)]
    return {
        "accuracy": f"{int8.accuracy:.1f} %, in float32 {int8.accuracy_before:.1f}",
        "difference": int8.in_words,
        "pictures": f"{int8.source}; ranges are from {int8.calibrated} to train on",
        "allowed": f"a loss of {int8.tolerance:g} points",
        "size": f"{int8.size:,} bytes, in float32 {int8.size_before:,}",
        "time of a pass": f"{times[0]}, in float32 {times[1]}, by {int8.latency.where}",
    }


class _Code(str):
    """A text that is shown as code."""


def _points(facts: Mapping[str, object]) -> str:
    """A list; numbers and lists in JSON."""
    return "\n".join(
        f"* {_escaped(name.replace('_', ' '))}: {_text(fact)}"
        for name, fact in facts.items()
        if fact is not None
    )


def _text(fact: object) -> str:
    if isinstance(fact, _Code):  # fenced by more backticks than it contains
        fence = "`" * (max(map(len, re.findall("`+", fact)), default=0) + 1)
        space = " " if "`" in (fact[:1], fact[-1:]) else ""
        return f"{fence}{space}{legible(' '.join(fact.split()))}{space}{fence}"
    text = fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)
    return text if re.fullmatch(r"[\[\]0-9eE.,+ -]*", text) else _escaped(text)


def _escaped(text: str) -> str:
    """Text from a file on one line, with Markdown and HTML escaped."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", legible(" ".join(text.split())))

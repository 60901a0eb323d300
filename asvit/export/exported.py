"""The result of an export: the code that loads the copy, and the model card in Markdown."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import timm

from asvit.core.preparing_settings import BLACK
from asvit.core.running import IMAGE, INPUT
from asvit.data.kinds import GREY, ImageKind
from asvit.data.preparation import BORDER, CENTER, PREPARATION, SQUASH
from asvit.export.comparison import TOLERANCE, Difference
from asvit.export.formats import WEIGHTS, Format
from asvit.export.quantisation import Quantisation
from asvit.export.writers import timm_arguments
from asvit.measuring.latency import time_in_words
from asvit.networks import WeightsFile
from proxies.counts import Cost
from proxies.text import legible

SCHEMA_VERSION = 1

UNKNOWN: Final = "not recorded"

# Facts with a fixed place on the card.
_PLACED: Final = (
    *(*PREPARATION, "crop_mode", "ground", "pixels"),
    *("recipe", "epochs", "epoch", "images", "top1", "weights", "tokens", "command", "seconds"),
    *("found_by", "asvit", "designed", "train_on_validation"),
)

# Metadata for pages of published models; other readers show it as a table.
_FRONT: Final = """---
library_name: timm
license: unknown
tags:
- image-classification
---
"""

# Facts that the card words otherwise.
_WORDS: Final = {
    "std": "standard deviation",
    "interpolation": "resized by interpolation",
    "crop_pct": "share of the side that the centre crop keeps",
    "tokens": "last trained with tokens of stride and dilation",
}

# What becomes of images that are not square, by the crop mode.
_OBLONG: Final = {
    CENTER: "the ends are cut off",
    BORDER: "padded with the mean colour",
    SQUASH: "squashed",
}

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
_IMPORT: Final = "import asvit  # its networks are then in timm's registry\n"


@dataclass(frozen=True)
class Exported:
    """A verified copy of a network."""

    content: WeightsFile  # the exported network, its weights and facts, :func:`without_folders`
    form: Format  # format of the copy
    out: Path  # path of the copy
    cost: Cost  # parameters, and multiply-adds of one image
    weights: Path | None  # file of the weights; None for random ones
    # Image size that the file of weights was trained for, in pixels; None if it does not record
    # it.
    trained_size: int | None
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
            ours=_IMPORT if ours else "",
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


def model_card(exported: Exported) -> str:
    """The card; unknown facts are marked as not recorded."""
    content, int8 = exported.content, exported.quantisation
    facts = content.facts
    designed = facts.get("designed")
    if isinstance(designed, Mapping):
        found = "By `asvit design`, within the limits below."
    else:
        found = f"{UNKNOWN.capitalize()}: the architecture was given as a text."
    trained = facts.get("asvit")
    parts = {
        "Network": _list(_network(exported)),
        "Input": _list(_input(exported)),
        "Training": _training(exported),
        "How it was found": _section(facts.get("found_by") or {}) or found,
        "Limits and what was measured": _section(designed or {}),
        "This copy": _list(_copy(exported)),
        "8-bit integers": "" if int8 is None else _list(_int8(int8)),
        "Loading": f"```python\n{exported.loading_code(exported.out.name)}\n```",
        "Made with": _list(
            {
                "versions": ", ".join(f"{name} {of}" for name, of in exported.versions.items()),
                "command": _code(without_folders(exported.command)),
                "trained with": None if trained is None else f"asvit {_plain(trained)}",
                "licence": UNKNOWN,
            }
        ),
    }
    front = _FRONT if exported.form.name == "timm" else ""
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items() if text)
    name = exported.out.stem if exported.form.suffix else exported.out.name  # of a folder
    return f"{front}# {legible(name)}\n\n{body}\n"


def _network(exported: Exported) -> dict[str, str | None]:
    network, names = exported.content.network, exported.content.classes
    form = f"{network.branches} branches" if network.branches else "merged"
    classes = f"{network.num_classes}: {', '.join(map(_plain, names))}"
    if not names:
        classes = f"{network.num_classes}, names {UNKNOWN}"
    if not network.num_classes:
        classes = "none; the outputs are pooled features"
    return {
        "architecture": f"`{network.architecture}`",
        "attention": network.attention,
        "feed-forward parts": network.ffn and f"{network.ffn}, {form}",
        "parameters": f"{exported.cost.params:,}",
        "multiply-adds of one image": f"{exported.cost.macs:,} at {network.image_size} px",
        "classes": classes,
    }


def _input(exported: Exported) -> dict[str, str | None]:
    """How images are prepared, as far as it is recorded."""
    network, facts = exported.content.network, exported.content.facts
    kind = ImageKind.of(facts.get("pixels", ""), network.in_chans)
    pixels = "RGB in 0 to 1, then normalised"
    if not kind.picture:
        unit = "in 0 to 1" if kind.scale > 1 else "as files have them"
        pixels = f"{kind}, {unit}, then normalised by channel"
    shape = f"[batch, {', '.join(map(str, network.image_shape))}], {pixels}"
    if exported.script is not None:
        channels = network.in_chans
        shape = f"[height, width, {channels}] of any size, as read; the graph does the following"
    known = any(name in facts for name in PREPARATION)
    transparent = known and (kind.picture or kind.reading == GREY)
    return {
        "shape": shape,
        **{_WORDS.get(name, name): _text(facts.get(name)) for name in PREPARATION},
        "oblong images": _OBLONG[facts.get("crop_mode", CENTER)] if known else None,
        "transparent pictures": f"laid over {facts.get('ground', BLACK)}" if transparent else None,
    }


def _training(exported: Exported) -> str:
    facts = exported.content.facts
    if exported.weights is None:
        return "None: the weights are random. The copy is only useful for measuring speed."
    return _list(
        {
            "weights from": _code(exported.weights.name),
            **{name: _text(facts.get(name)) for name in ("recipe", "epochs", "images")},
            "accuracy": _accuracy(exported),
            _WORDS["tokens"]: _text(facts["tokens"]) if facts.get("tokens") else None,
            "command": _code(facts["command"]) if "command" in facts else None,
            "time": f"{facts['seconds']:,} s" if "seconds" in facts else None,
            **{_plain(name): _text(fact) for name, fact in facts.items() if name not in _PLACED},
        }
    )


def _accuracy(exported: Exported) -> str | None:
    """The accuracy of the training; None where a design tells that of its test instead."""
    facts = exported.content.facts
    if isinstance(designed := facts.get("designed"), Mapping) and "accuracy" in designed:
        return None
    if facts.get("train_on_validation"):
        return "not known: it was trained on its images for validation, too"
    top1 = facts.get("top1")
    if not isinstance(top1, int | float):
        return UNKNOWN
    text = f"top-1 {top1:.2f} % on the images held out"
    if "epoch" in facts:  # of a training; inherited weights have that of a test
        text += f" for validation, after epoch {facts['epoch']}"
    if exported.trained_size not in (None, exported.content.network.image_size):
        text += f", at {exported.trained_size} px, not at the size of this copy"
    return text


def _copy(exported: Exported) -> dict[str, str | None]:
    is_graph = exported.form.name in ("onnx", "pt2")
    batch = "any number of images" if exported.batch is None else str(exported.batch)
    opset = f"{exported.opset}; its input is called `{IMAGE if exported.script else INPUT}`"
    # Copies for one size of batch have two of that size: the larger one comes last, and counts.
    differences = {
        f"largest difference from the network, batch of {difference.batch}": (
            f"{difference.absolute:.2g}, which is {difference.relative:.2g} of the largest output"
            if difference.absolute
            else "none, to the last bit"
        )
        for difference in sorted(exported.differences, key=attrgetter("batch", "absolute"))
    }
    return {
        "format": exported.form.name,
        "batch": batch if is_graph else None,
        "operator set": None if exported.opset is None else opset,
        **differences,
        "allowed": f"{TOLERANCE:g} of the largest output, on random images"
        + ", before it was quantised" * (exported.quantisation is not None),
        **{f"SHA-256 of {_code(name)}": _code(text) for name, text in exported.digests.items()},
    }


def _int8(int8: Quantisation) -> dict[str, str | None]:
    return {
        "accuracy": f"{int8.accuracy:.1f} %, in float32 {int8.accuracy_before:.1f}",
        "difference": int8.in_words,
        "pictures": f"{_plain(int8.source)}; ranges are from {int8.calibrated} to train on",
        "allowed": f"a loss of {int8.tolerance:g} point{'s' * (int8.tolerance != 1)}",
        "size": f"{int8.size:,} bytes, in float32 {int8.size_before:,}",
        "time of a pass": f"{time_in_words(int8.latency.milliseconds)}, in float32 "
        f"{time_in_words(int8.latency_before.milliseconds)}, by {int8.latency.where}",
    }


def _section(facts: Mapping[str, Any]) -> str:
    return _list({_plain(name.replace("_", " ")): _text(value) for name, value in facts.items()})


def _list(points: Mapping[str, str | None]) -> str:
    return "\n".join(f"* {name}: {text}" for name, text in points.items() if text is not None)


def _text(fact: object) -> str:
    """A fact as text; numbers and lists in JSON."""
    if fact is None:
        return UNKNOWN
    text = fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)
    return text if re.fullmatch(r"[\[\]0-9eE.,+ -]*", text) else _plain(text)  # a list of numbers


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


def _plain(text: str) -> str:
    """Text from a file on one line, with Markdown and HTML escaped."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", legible(" ".join(text.split())))


def _code(text: str) -> str:
    """Text from a file as inline code: fenced by more backticks than it contains."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{legible(' '.join(text.split()))}{space}{fence}"

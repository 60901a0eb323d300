"""The result of an export, and the code that loads the copy."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import timm

from asvit.core.running import IMAGE, INPUT
from asvit.export.comparison import TOLERANCE, Difference
from asvit.export.formats import WEIGHTS, Format
from asvit.export.quantisation import Quantisation
from asvit.export.writers import timm_arguments
from asvit.networks import WeightsFile
from proxies.counts import Cost
from proxies.text import legible

SCHEMA_VERSION = 1

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

"""A network that was exported: what of it, where to, and how the copy was proved equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asvit.export.comparison import TOLERANCE, Difference
from asvit.export.formats import Format
from asvit.export.loading import loading_code
from asvit.networks import WeightsFile
from proxies.counts import Cost

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Exported:
    """A copy of a network that has been proved equal.

    Attributes:
        content: The network as it was exported, its weights and what is known of it.
        form: Format of the copy.
        out: The copy.
        cost: Parameters, and multiply-adds of one image.
        weights: File that the weights are from; None for random ones.
        trained_size: Side of the images that the file of weights was made for; None where it does
            not say.
        batch: Images in a batch, of a graph; None for any number.
        opset: Operator set of an ONNX graph; None for other formats.
        differences: What the comparisons with the network came to.
        card: The model card; None for none.
        versions: Versions of what took part.
        command: What was typed, or would have to be.
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
        """Python that loads the copy, called ``place``, and runs it."""
        return loading_code(self.form.name, place, self.content.network, batch=self.batch or 1)

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` writes."""
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

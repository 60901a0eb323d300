"""What a design ended in."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from asvit.architectures.genotype import Genotype
from asvit.core.codec import Nullable
from asvit.core.results import Result
from asvit.core.settings import fields_of
from asvit.core.summary import Estimate
from asvit.designs.settings import DesignSettings
from asvit.reference.findings import Interval


@dataclass(frozen=True)
class Model:
    """A trained network."""

    architecture: str  #: its text
    params: int
    macs: int  #: multiply-adds of one image
    latency_ms: float  #: time of a forward pass in a process of its own, milliseconds
    accuracy: float  #: of the test pictures, per cent
    accuracy_interval: Interval  #: its 95 % interval (Wilson's)


@dataclass(frozen=True, kw_only=True)
class DesignResult(Result, Model):
    """What a design ended in: the network, and more.

    Example:
        >>> result = asvit.design("pictures", max_params="5M", hours=1)  # doctest: +SKIP
        >>> result.accuracy_interval  # doctest: +SKIP
    """

    kind = "design"
    noun = "design"

    settings: DesignSettings
    #: A network of As-ViT blocks in Swin-T's shape, as wide as the limits allow, trained alike;
    #: None where none of that shape is within the limits.
    hand_made: Model | None
    #: How many points more accurate the network is than that one, if there is one.
    difference: float | None
    #: The 95 % interval of that over the pictures (Newcombe's).
    difference_interval: Interval | None
    difference_p: Nullable = math.nan  #: of McNemar's exact test that there is none
    not_compared: str = ""  #: why there is no such network
    #: What the search expected of its short trainings' accuracy and how far to trust it, in words.
    prediction: str
    image_size: int  #: side of the images in pixels
    epochs: int  #: passes over the training images
    classes: Sequence[str]  #: their names
    train_pictures: int  #: how many there were to train on
    test_pictures: int  #: how many there were to test on
    unreadable: Mapping[str, str]  #: pictures that could not be read, and why
    #: The names of each picture that has several.
    equal: Sequence[Sequence[str]] = field(default_factory=tuple)
    #: Test pictures that had changed until the test, and why they were left out.
    left_out: Mapping[str, str] = field(default_factory=dict)
    measured_on: str  #: device, threads and runtime of the latency, in words
    exports: Sequence[str]  #: exported copies, relative to the run folder
    commands: Sequence[str]  #: what repeats each stage

    @classmethod
    def parse(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """As the base does; what to type next is of the folder as it is called now."""
        result, now = super().parse(content, folder), predict_command(folder)
        before = result.next_command
        commands = [now if command == before else command for command in result.commands]
        return dataclasses.replace(result, commands=commands, next_command=now)

    @property
    def lines(self) -> list[list[Any]]:
        """The networks as rows of a table: which, text, sizes, milliseconds and accuracy."""
        ours = Model(**{name: getattr(self, name) for name in fields_of(Model)})
        return [
            [
                *(name, model.architecture, model.params, model.macs, model.latency_ms),
                Estimate(model.accuracy, *model.accuracy_interval, digits=1),
            ]
            for name, model in (("found", ours), ("made by hand", self.hand_made))
            if model is not None
        ]

    @property
    def hand_made_in_words(self) -> str:
        """What the network made by hand has in common with Swin-T and what not; else empty."""
        if self.hand_made is None:
            return ""
        genotype = Genotype.parse(self.hand_made.architecture)
        channels = genotype.width // genotype.stage_heads[0]
        return (
            f"The network made by hand has As-ViT blocks with heads of {channels} channels; those "
            "of Swin-T have 32, and a bias by position: it is no Swin-T."
        )

    @property
    def difference_in_words(self) -> str:
        """Whether the network is better than the one made by hand."""
        if self.difference is None or self.difference_interval is None:
            return f"not compared with As-ViT blocks of Swin-T's shape: {self.not_compared}"
        low, high = self.difference_interval
        points = f"{self.difference:+.1f} points ({low:+.1f} to {high:+.1f}, 95 %)"
        if math.isfinite(self.difference_p):
            points += f", McNemar's p {self.difference_p:.2g}"
        by_chance = self.difference_p > 0.05
        if low > 0 and not by_chance:
            return f"more accurate than As-ViT blocks of Swin-T's shape: {points}"
        if high < 0 and not by_chance:
            return f"less accurate than As-ViT blocks of Swin-T's shape: {points}"
        return f"no difference to As-ViT blocks of Swin-T's shape is shown: {points}"


def predict_command(folder: Path) -> str:
    """The command that classifies pictures by the network of a finished design."""
    return shlex.join(["asvit", "predict", "PICTURE", "--weights", str(folder)])

"""The stages of a design, and what each comes to, as its journal stores it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, get_type_hints

from asvit.core.codec import Nullable, to_json, value_from_json
from asvit.core.estimates import Estimate
from asvit.measuring.latency import Latency

FINALISTS = ("finalist-1", "finalist-2", "finalist-3")  # stages and folders of the last round
PRETRAINED = ("pretrained-1", "pretrained-2")  # those of networks that are not from scratch


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """Facts on the pictures; those of a sample are rough, and lack what has defaults."""

    classes: Sequence[str]
    train: int  # pictures to train on, those to validate on among them
    validation: int = 0  # of those, where they have a part for it
    sizes: Sequence[int] = ()  # of each class, to train on; empty where they are not known
    side: int  # median of their shorter sides in pixels; of the longer ones unless cropped
    fit: str = "crop"  # how they become square, one of ``FITS``
    ground: str = ""  # what transparent ones are laid over; empty if there are none
    channels: int = 3
    pixels: str = ""  # type of their numbers; empty for 8-bit RGB
    test: int = 0
    digest: str = ""  # SHA-256 of the list
    unreadable: Mapping[str, str] = field(default_factory=dict)  # names, and why
    equal: Sequence[Sequence[str]] = ()  # names of each picture that has several
    plain: Sequence[str] = ()  # names of those that are nearly of one colour


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """The settings of the search that the time decides."""

    trainings: int  # none where there is too little time to choose among networks
    training_steps: int
    image_size: int
    max_macs: int | None
    max_params: int | None
    width_multiple: int | None
    #: About how many the final training has, by which all are augmented; None for as many as pay.
    epochs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A network that races."""

    family: str  #: name of its space
    architecture: str  #: its text, as wide as the limits and the time allow
    by_hand: bool  #: whether it is of a published shape
    #: Accuracy of the validation pictures of its round, balanced where classes are; per cent.
    validation: Nullable = math.nan
    #: Whether it is narrower than the limits allow, to be trained with more updates in the time.
    narrowed: bool = False
    #: Whose weights it started from: ``timm:`` and timm's name of them, or a file; empty if it was
    #: trained from scratch.
    pretrained: str = ""
    trained_on: int = 0  #: test pictures that these weights were trained on, as far as is known

    @property
    def remark(self) -> str:
        """What these test pictures mean, in brackets; empty where there are none."""
        if not self.trained_on:
            return ""
        return f" (trained on {self.trained_on:,} of the test pictures: on others it is worse)"


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """What the search ranks."""

    ranking: Sequence[Entrant]  # best first
    ranked: bool  # whether its own check shows that it ranks
    prediction: str  # what it expects, and how far to trust that, in words
    command: str
    run_seconds: float = 0.0  # of all sessions of its run


@dataclass(frozen=True, kw_only=True)
class Finalists:
    """The networks of the last round, and the image size."""

    side: int
    networks: Sequence[Entrant]
    pretrained: Sequence[Entrant]


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long the networks of the last round are trained, by their stages."""

    epochs: Mapping[str, int]  # at most
    hours: float | None = None
    fractals: Mapping[str, tuple[int, int]]  # pictures and epochs, of those that begin with them
    fractal_hours: float | None = None  # of each of these
    seconds: Mapping[str, float]  # expected
    training: float | None = None  # seconds that the training of the winner is to have


@dataclass(frozen=True, kw_only=True)
class TrainingOutcome:
    """A training of the last round, or that of the winner."""

    params: int
    macs: int
    command: str
    epochs: int
    validation: Nullable  # accuracy over the last epochs, balanced where classes are; per cent
    epoch_seconds: Nullable
    run_seconds: float = 0.0  # of all sessions of its run, and of the one before
    before: Sequence[str] = ()  # the command of its training on fractals


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The network that is trained on all pictures, and for how long."""

    winner: str  # its stage
    by_hand: str | None  # stage of the best one made by hand
    accuracies: Mapping[str, Nullable]  # of the validation pictures, per cent
    epochs: int  # at most
    hours: float | None = None
    seconds: Mapping[str, float]  # expected


@dataclass(frozen=True, kw_only=True)
class FinalTest:
    """Networks on the pictures that were set aside, by their stages."""

    pictures: int
    left_out: Mapping[str, str]  # those that had changed, and why
    accuracies: Mapping[str, Estimate]
    balanced: Mapping[str, Estimate]
    # Points of the winner from the best one made by hand; balanced accuracy where classes are.
    difference: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Exports:
    """Exported copies of the network."""

    copies: Sequence[str]  # relative to the run folder
    commands: Sequence[str]
    int8: str = ""  # what 8-bit integers cost, or why there is no such copy


class StageResults(dict[str, Any]):
    """The results of finished stages by their names; those of one type are attributes, too."""

    pictures: PictureFacts
    plan: SearchPlan
    search: SearchOutcome
    finalists: Finalists
    epochs: Lengths
    choice: Choice
    training: TrainingOutcome
    test: FinalTest
    latency: Mapping[str, Latency]
    export: Exports

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"stage {name!r} has not finished") from None

    def trained(self, name: str) -> TrainingOutcome:
        """The training of a network of the last round."""
        training: TrainingOutcome = self[name]
        return training

    @classmethod
    def of(cls, stages: Iterable[Stage]) -> Self:
        """The results of stored stages."""
        types = {
            **get_type_hints(cls),
            **dict.fromkeys((*FINALISTS, *PRETRAINED), TrainingOutcome),
        }
        stored = {stage.name: stage.result for stage in stages}
        return cls(
            {
                name: value_from_json(one, types[name]) if one else None
                for name, one in stored.items()
            }
        )


@dataclass(frozen=True)
class Stage:
    """The record of a finished stage, under its name; empty where it had nothing to do."""

    name: str
    result: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, result: object) -> Self:
        """The record of what a stage came to; None where it had nothing to do."""
        return cls(name, {} if result is None else to_json(result))

"""What a design ended in."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from asvit.core.codec import Nullable
from asvit.core.console import quantity
from asvit.core.estimates import NO_INTERVAL, Estimate, Interval
from asvit.core.results import Result
from asvit.designs.settings import DesignSettings
from asvit.designs.stages import Entrant
from asvit.measuring.latency import time_in_words
from asvit.training.short_settings import IN_WORDS, UNEVEN
from proxies.text import listed


@dataclass(frozen=True)
class Model:
    """A trained network."""

    family: str  #: name of its space
    architecture: str  #: its text
    params: int
    macs: int  #: multiply-adds of one image
    #: Time of a forward pass in a process of its own, milliseconds; NaN where there was no time.
    latency_ms: Nullable
    accuracy: float  #: of the test pictures, per cent
    accuracy_interval: Interval  #: its 95 % interval (Wilson's)
    #: Whose weights it started from: ``timm:`` and timm's name of them, or a file; empty if it was
    #: trained from scratch.
    pretrained: str = ""
    #: Mean over the classes of the accuracy of their test pictures, per cent.
    balanced_accuracy: Nullable = math.nan
    balanced_accuracy_interval: Interval = NO_INTERVAL  #: its 95 % interval (Price and Bonett's)

    @property
    def estimate(self) -> Estimate:
        """The accuracy of the test pictures with its interval."""
        return Estimate(self.accuracy, *self.accuracy_interval, digits=1)


@dataclass(frozen=True, kw_only=True)
class Racer(Entrant):
    """A network of the search or of the last round, or the only one."""

    round: Literal["search", "last", "none"]  #: none where there was no time to choose
    accuracy: Nullable = math.nan  #: of the test pictures, per cent; of the last round only
    accuracy_interval: Interval = NO_INTERVAL  #: its 95 % interval (Wilson's)
    epochs: int = 0  #: passes over the training images, in the last round
    chosen: bool = False  #: whether it won

    @property
    def estimate(self) -> Estimate:
        """See :attr:`Model.estimate`."""
        return Estimate(self.accuracy, *self.accuracy_interval, digits=1)

    @property
    def group(self) -> str:
        """Its family; pretrained networks are apart."""
        return f"{self.family}, pretrained" if self.pretrained else self.family

    @property
    def origin(self) -> str:
        """Where it is from, in a word or two."""
        if self.pretrained:
            return "pretrained"
        return "by hand" if self.by_hand else "search"


@dataclass(frozen=True, kw_only=True)
class DesignResult(Result, Model):
    """What a design ended in: the network, and more.

    Example:
        >>> result = asvit.design("pictures", max_params="5M", hours=1)  # doctest: +SKIP
        >>> result.accuracy_interval  # doctest: +SKIP
    """

    kind = "design"
    noun = "design"
    rows_in = "predictions"
    answered = "accuracy"

    settings: DesignSettings
    #: The best network of a published shape in the last round, as wide as the limits and the time
    #: allow; None where there was none. Without a last round the network itself, if it is of one.
    hand_made: Model | None
    #: How many points more accurate the network was than that one in the last round, where both
    #: were trained alike; None where it is that one. Of balanced accuracy where classes are.
    difference: float | None
    #: The 95 % interval of that over the pictures (Newcombe's; balanced, Bonett and Price's).
    difference_interval: Interval | None
    #: Of McNemar's exact test that there is none; NaN of balanced accuracies.
    difference_p: Nullable = math.nan
    #: The networks of the search, best first, and those of the last round; or the only one.
    race: Sequence[Racer]
    ranked: bool  #: whether its own check shows that the search ranks
    at_chance: bool  #: whether no network of the last round is better than guessing
    #: What the search expected of its short trainings' accuracy and how far to trust it, in words.
    prediction: str
    image_size: int  #: side of the images in pixels
    channels: int = 3  #: of the images
    pixels: str = ""  #: type of their numbers; empty for 8-bit RGB pictures
    fractals: int = 0  #: epochs on generated fractals that the network began with; 0 for none
    #: How all networks were trained on uneven classes: by ``weights`` in the loss or by
    #: ``sampling``, and compared by balanced accuracy; or ``none``.
    balance: Literal["none", "sampling"] = "none"
    imbalance: float = 1.0  #: pictures to train on of the largest class over those of the smallest
    epochs: int  #: passes over all pictures but those of the test, after the last round
    classes: Sequence[str]  #: their names
    train_pictures: int  #: how many there were to train on
    test_pictures: int  #: how many there were to test on
    unreadable: Mapping[str, str]  #: pictures that could not be read, and why
    plain: Sequence[str] = ()  #: pictures that are nearly of one colour
    #: The names of each picture that has several.
    equal: Sequence[Sequence[str]] = field(default_factory=tuple)
    #: Test pictures that had changed until the test, and why they were left out.
    left_out: Mapping[str, str] = field(default_factory=dict)
    measured_on: str  #: runtime, device and threads of the latency, in words
    #: What 8-bit integers cost in accuracy on the test pictures, or why there is no such copy;
    #: empty where none was asked for.
    int8: str = ""
    exports: Sequence[str]  #: exported copies, relative to the run folder
    commands: Sequence[str]  #: what repeats each stage

    @classmethod
    def parse(cls, content: Mapping[str, Any], folder: Path) -> Self:
        """As the base does; the last command is of the folder as it is called now, too."""
        result = super().parse(content, folder)
        if not any(racer.chosen for racer in result.race):
            raise ValueError("its race has no chosen network")
        before, now = content.get("next_command", ""), result.next_command
        commands = [now if command == before else command for command in result.commands]
        return dataclasses.replace(result, commands=commands)

    def derived(self) -> Mapping[str, Any]:
        """What the network has of each limit, and whether it is within it."""
        limits = {
            name: {"value": have, "kept": have <= most}
            for name, (have, most) in self._limits.items()
        }
        return {"limits": limits}

    def comparable(self) -> dict[str, Any]:
        """As the base has them, without limits."""
        facts = super().comparable().items()
        return {name: fact for name, fact in facts if not name.startswith("limits.")}

    @property
    def lines(self) -> list[list[Any]]:
        """The network, and the plain one, as rows of a table: text, sizes, milliseconds."""
        plain = self.hand_made if self.last_round else None
        named: list[tuple[str, Model | None]] = [("this network", self), ("the plain one", plain)]
        return [
            [name, model.params, model.macs, model.latency_ms, model.architecture]
            for name, model in named
            if model is not None and (model is self or model.architecture != self.architecture)
        ]

    @property
    def last_round(self) -> Sequence[Racer]:
        """The networks of the last round, the chosen one first."""
        last = [racer for racer in self.race if racer.round == "last"]
        return sorted(last, key=lambda racer: not racer.chosen)

    @property
    def outcome(self) -> str:
        """What was trained, how accurate it is, and what a plain network reaches; sentences."""
        winner = next(racer for racer in self.race if racer.chosen)
        tuned = f", fine-tuned from {self.pretrained}{winner.remark}," if self.pretrained else ""
        low, high = self.accuracy_interval
        narrowed = " (a larger one would be trained too briefly)" * winner.narrowed
        return (
            f"A network{tuned} was trained on {self.train_pictures:,} pictures of "
            f"{len(self.classes)} classes. It is right about {self.accuracy:.1f} % (95 % "
            f"interval {low:.1f} to {high:.1f}) of {self.test_pictures:,} pictures that it had "
            f"never seen, with {self._limits_in_words}{narrowed}. {self._plain}{self._doubt}."
        )

    @property
    def _plain(self) -> str:
        """What a plain network, one of a published shape, reaches: a sentence without its end."""
        if not self.last_round:
            return (
                "It is a plain network, the default: there was too little time to choose "
                "among several"
            )
        if self.at_chance:
            return (
                "No network of the last round was better than guessing: nothing was chosen, and "
                "what was expected to win was trained; more hours allow a choice"
            )
        if self.hand_made is None:
            return "No plain network was in the last round to compare it with"
        if self.difference is None or self.difference_interval is None:
            searched = any(racer.origin == "search" for racer in self.race)
            beaten = "none that was searched beat it" if searched else "so are all that raced"
            return f"It is a plain network itself, of a published shape: {beaten}"
        points = Estimate(self.difference, *self.difference_interval, digits=1, sign="+")
        of = "of balanced accuracy " * math.isnan(self.difference_p)
        scratch = ", which was trained from scratch" * bool(self.pretrained)
        return (
            f"When both had been trained {self._as_long}, it was {points} points [95 %] {of}from "
            f"a plain network, one of a published shape{scratch}: {self.difference_in_words}"
        )

    @property
    def _as_long(self) -> str:
        """How long the networks of the last round were trained."""
        epochs = [racer.epochs for racer in self.last_round]
        least, most = min(epochs), max(epochs)
        alike = quantity(most, "epoch")
        return f"for {alike}" if least == most else f"for the same time, {least} to {alike}"

    @property
    def _doubt(self) -> str:
        """Why it was preferred, where another had a lead on the validation pictures."""
        if not self.last_round or self.at_chance:
            return ""
        chosen, *others = self.last_round
        if not any(racer.validation > chosen.validation for racer in others):
            return ""
        expected = "a pretrained network" if chosen.pretrained else "one of the first family"
        if chosen.by_hand and not self.ranked:
            expected = "the one made by hand of the first family"
        return (
            f"; chosen as {expected}, because no other led by two standard errors on the "
            "validation pictures after a training that is long enough to tell"
        )

    @property
    def remarks(self) -> list[str]:
        """What was odd about the pictures, in lines."""
        lines = list[str]()
        if words := balance_in_words(self.balance, self.imbalance):
            lines.append(words)
        elif self.imbalance > UNEVEN:
            lines.append(
                f"the largest class has {self.imbalance:.1f} times the pictures of the smallest"
            )
        count = len(self.unreadable)
        for number, words in (
            (count, "left out, which could not be read"),
            (len(self.left_out), "left out of the test, which had changed before it"),
            (len(self.equal), "with copies, which are never both trained on and tested on"),
        ):
            if number:
                lines.append(f"{quantity(number, 'picture')} {words}")
        if self.plain:
            lines.append(
                f"{quantity(len(self.plain), 'picture')} nearly of one colour, which may show "
                f"nothing: {listed(self.plain)}"
            )
        return lines

    @property
    def _limits(self) -> Mapping[str, tuple[float, float]]:
        """What the network has of what is limited, and the limit."""
        s = self.settings
        pairs = {
            "max_params": (self.params, s.max_params),
            "max_macs": (self.macs, s.max_macs),
            "max_latency": (self.latency_ms, s.max_latency),
        }
        return {name: (have, most) for name, (have, most) in pairs.items() if most is not None}

    @property
    def _limits_in_words(self) -> str:
        """Each limit with what the network has of it."""
        words: Mapping[str, Callable[[Any, Any], str]] = {
            "max_params": "{:,} of {:,} parameters".format,
            "max_macs": "{:,} of {:,} multiply-adds".format,
            "max_latency": lambda have, most: f"{time_in_words(have)} of {most:g} ms",
        }
        return ", ".join(words[name](*pair) for name, pair in self._limits.items())

    @property
    def difference_in_words(self) -> str:
        """Whether the network is better than the best one made by hand, in a word or two."""
        if self.difference is None or self.difference_interval is None:
            return "not compared"
        low, high = self.difference_interval
        by_chance = self.difference_p > 0.05
        if low > 0 and not by_chance:
            return "more accurate"
        if high < 0 and not by_chance:
            return "less accurate"
        return "no difference is shown"


def balance_in_words(balance: str, imbalance: float) -> str:
    """How uneven classes are trained on, in a sentence; empty where they are not balanced."""
    if balance == "none":
        return ""
    return (
        f"the largest class has {imbalance:.1f} times the pictures of the smallest: "
        f"{IN_WORDS}, and networks and epochs are compared by balanced accuracy"
    )


def predict_command(folder: Path) -> str:
    """The command that classifies pictures by the network of a finished design."""
    return shlex.join(["asvit", "predict", "PICTURE", "--weights", str(folder)])

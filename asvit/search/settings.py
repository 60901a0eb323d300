"""What a search is asked to do: one frozen set of settings, kept with its results."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self

from asvit.core.settings import MeasuringSettings, proxy_names, setting
from asvit.reference.build_settings import BuildSettings, initial_weights
from asvit.reference.findings import LEAST_TRAININGS
from scaling import parse_amount, parse_milliseconds

_ONE_BY_ONE = ("tpe", "nsga2")  # Optuna's own, which see whatever has been measured

ACCURACY = "accuracy"  # per cent: the objective of a search that trains
PREDICTOR = "predictor"  # the controller that needs it

_MEASURES = ("length_distortion", "ntk_condition_number")
# Where the default depends on what is measured: without training, and with it.
_SIZES = {"image_size": (224, 32), "batch": (1, 4)}
_TRAININGS = 24
_TRAINING = "Search by short trainings"  # headings of their options
_LIMITS = "Limits of the networks"
_WIDTH = 16  # of trainings, channels of the first stage

FINALISTS = 2  # architectures that a search trains again with fresh seeds
_FINAL = ((12, 2), (40, 3))  # from so many trainings on, how often each of them

LIMITS = ("max_params", "max_macs", "max_latency")
_OF_LATENCY = ("latency_batch", "latency_runtime")
_OF_MEASURES = ("steps", "proxies", "recheck", "pick", "repeats", "images", "points", "radius")
_OF_TRAININGS = (
    *("training_steps", "batch_size", "learning_rate", "width"),
    *("train_images", "test_images"),
    *("classes", "shift", "flip", "init"),
)
_OTHERWISE = ("training_steps", "width")  # of them that a table calls otherwise, or always has

#: The preset ``quick`` of a search that trains.
_QUICK = {
    "classes": 10,
    "training_steps": 150,
    "batch_size": 32,
    "train_images": 1_000,
    "test_images": 500,
}

_of_training = partial(setting, group=_TRAINING)


def _limit(read: Callable[[Any], Any], help: str, *, metavar: str = "N", unit: str = "") -> Any:
    """A limit of the networks, none by default: a number, or a text that ``read`` takes."""
    known = {"convert": read, "parse": read, "spell": f"{{}}{unit}".format}
    return setting(None, help, metavar=metavar, group=_LIMITS, **known)


def _depths(given: str | Iterable[int]) -> tuple[int, ...]:
    """Blocks of each stage, written as ``2,2,6,2`` or given as numbers."""
    try:
        if isinstance(given, str):
            return tuple(map(int, given.split(",")))
        return tuple(map(operator.index, given))
    except (TypeError, ValueError):
        raise ValueError(f"depths must be whole numbers such as 2,2,6,2, got {given!r}") from None


@dataclass(frozen=True)
class SearchSettings(MeasuringSettings):
    """Settings of a search. Two runs with equal settings measure the same architectures.

    A search that trains has ``trainings``, and one objective: the accuracy on images held out.
    """

    space: str = setting(
        "asvit",
        "Search space (see asvit list spaces).",
        metavar="NAME",
        complete="asvit.spaces:SPACES",
    )
    controller: str = setting(
        "reinforce",
        "What proposes architectures (see asvit list controllers).",
        metavar="NAME",
        complete="asvit.search:CONTROLLERS",
    )
    proxies: tuple[str, ...] = setting(
        _MEASURES,
        "Measure to use; repeat it or separate names by commas (see asvit list proxies). Those "
        "with a direction are the objectives, in this order.",
        name="proxy",
        metavar="NAME",
        convert=proxy_names,
        complete="proxies:PROXIES",
    )
    steps: int = setting(500, "Architectures to measure.", at_least=1)
    image_size: int = setting(
        None,
        "Side of the square images, in pixels.",
        shown="224; 32 with --trainings",
        at_least=1,
    )
    batch: int = setting(
        None,
        "Architectures drawn before the controller learns from any, and measured side by side.",
        shown="1; 4 with --trainings",
        at_least=1,
    )
    recheck: int = setting(
        8,
        "Fresh networks on which the finalists are measured again in the end: what the policy "
        "ends in, and the ten best by the sum of their ranks.",
        at_least=1,
    )
    pick: Literal["measured", "policy"] = setting(
        "measured",
        "Which finalist the search hands on: the best when measured again (measured), or the "
        "policy's likeliest architecture, as in the paper (policy; for a controller without a "
        "policy the best drawn).",
        choices=("measured", "policy"),
    )
    trainings: int | None = _of_training(
        None,
        "Search by short trainings, so many, in place of measures: the objective is the accuracy "
        "on images held out. From 12 on, the last ones train two finalists again.",
        shown=f"{_TRAININGS} with --controller predictor",
        at_least=1,
    )
    training_steps: int = _of_training(1_400, "Batches of each training.", at_least=1)
    batch_size: int = _of_training(64, "Images in a batch of a training.", at_least=1)
    learning_rate: float = _of_training(
        2e-3, "Highest learning rate of a training.", metavar="N", above=0
    )
    width: int | None = _of_training(
        None,
        "Channels of the first stage in trainings; spaces whose networks have no width of their "
        "own are left as they are.",
        shown=f"{_WIDTH}; with --max-params or --max-macs as wide as they allow",
        at_least=1,
    )
    train_images: int = _of_training(
        8_000, "Images to train on; four fifths of them all where there are fewer.", at_least=2
    )
    test_images: int = _of_training(
        5_000, "Other images to test on; those left where there are fewer.", at_least=1
    )
    classes: int = _of_training(
        20, "Classes of the fractals to train on; other images have their own.", at_least=2
    )
    shift: int = _of_training(
        0, "Shift training images by up to N pixels along each axis.", at_least=0
    )
    flip: bool = _of_training(False, "Mirror half of the training images.")
    init: Literal["xavier", "own"] = initial_weights(group=_TRAINING)
    depths: tuple[int, ...] | None = setting(
        None,
        "Blocks in each stage of every network, such as 2,2,6,2: these are searched, and limits "
        "apply to them.",
        metavar="D1,D2,...",
        shown="those of the space",
        convert=_depths,
        parse=_depths,
        group=_LIMITS,
    )
    max_params: int | None = _limit(
        parse_amount,
        "Parameters that a network may have, such as 5M; every network is as wide as this and "
        "--max-macs allow, if its space has widths.",
    )
    max_macs: int | None = _limit(
        parse_amount, "Multiply-adds that a network may take for an image, such as 600M."
    )
    max_latency: float | None = _limit(
        parse_milliseconds,
        "Time that a forward pass may take on --device, such as 8ms.",
        metavar="TIME",
        unit="ms",
    )
    latency_batch: int = setting(1, "Images of that pass.", at_least=1, group=_LIMITS)
    latency_runtime: Literal["eager", "compile", "onnx"] = setting(
        "eager", "What runs that pass.", choices=("eager", "compile", "onnx"), group=_LIMITS
    )

    def __post_init__(self) -> None:
        trains = _trains(vars(self))
        if trains and self.width is None and not self.sized:
            object.__setattr__(self, "width", _WIDTH)
        if trains:
            object.__setattr__(self, "proxies", self._objective())
            if self.trainings is None:
                object.__setattr__(self, "trainings", _TRAININGS)
        for name, defaults in _SIZES.items():
            if getattr(self, name) is None:
                alone = name == "batch" and self.controller in _ONE_BY_ONE
                object.__setattr__(self, name, defaults[trains and not alone])
        super().__post_init__()

    def _objective(self) -> tuple[str, ...]:
        measures = proxy_names(self.proxies)
        if measures not in (_MEASURES, (ACCURACY,)):
            raise ValueError(
                f"measures {', '.join(measures)} beside trainings, which search by accuracy; "
                "leave out the measures, or trainings and controller predictor"
            )
        return (ACCURACY,)

    @classmethod
    def make(cls, preset: str = "default", **given: Any) -> Self:
        """As the base does; a preset may be another one for a search that trains."""
        if preset == "quick" and _trains(given):
            return super().make(**{**_QUICK, **given})
        return super().make(preset, **given)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], _declared: object = None) -> Self:
        """As the base does; how a search would train that does not is nothing to go by."""
        if isinstance(stored, Mapping) and not _trains(stored):
            stored = {**stored, **{name: getattr(cls, name) for name in _OF_TRAININGS}}
        return super().from_json(stored)

    @property
    def sized(self) -> bool:
        """Whether networks are as wide as limits allow."""
        return self.width is None and (self.max_params is not None or self.max_macs is not None)

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return any(getattr(self, name) is not None for name in LIMITS)

    def check(self) -> None:
        """Check that the controller can learn from batches, and has what it needs."""
        if self.batch > 1 and self.controller in _ONE_BY_ONE:
            raise ValueError(
                f"batch={self.batch} does not suit controller {self.controller!r}, which learns "
                "after every architecture; use batch=1 (repeats are still shared among workers)"
            )
        if self.max_latency is None:
            for name in _OF_LATENCY:
                if (value := getattr(self, name)) != getattr(type(self), name):
                    raise ValueError(f"{name}={value} is for max_latency; give that, too")
        if self.trainings is None:
            for name in _OF_TRAININGS:
                if (value := getattr(self, name)) != getattr(type(self), name):
                    raise ValueError(
                        f"{name}={value} is for trainings, and this search measures without; "
                        "give trainings, too"
                    )
            return
        if self.steps != type(self).steps:
            raise ValueError(
                f"steps={self.steps} counts architectures that are measured, and this search "
                f"trains; use trainings={self.steps}, or training_steps for batches"
            )
        if self.pick == "policy":
            raise ValueError("pick='policy' does not suit trainings; use 'measured'")
        if self.controller == PREDICTOR and self.trainings < LEAST_TRAININGS:
            raise ValueError(
                f"trainings={self.trainings} are too few to learn from; use at least "
                f"{LEAST_TRAININGS}"
            )

    @property
    def final_trainings(self) -> int:
        """How often each finalist is trained again, out of the trainings; 0 where they are few.

        The best of noisy accuracies owes much to luck; those of fresh seeds do not.
        """
        if self.trainings is None or self.trainings < _FINAL[0][0]:
            return 0
        return max(times for least, times in _FINAL if self.trainings >= least)

    @property
    def trials(self) -> int:
        """How many architectures are drawn, to be measured or trained."""
        if self.trainings is None:
            return self.steps
        return self.trainings - FINALISTS * self.final_trainings

    @property
    def size_in_words(self) -> str:
        """How much is measured or trained, such as ``24 trainings``."""
        return f"{self.steps if self.trainings is None else self.trainings} {self.counted}"

    @property
    def unused(self) -> Sequence[str]:
        """Settings of the other kind of search: by measures or by trainings."""
        limits = () if self.limited else LIMITS
        latency = () if self.max_latency is not None else _OF_LATENCY
        other = ("trainings", *_OF_TRAININGS) if self.trainings is None else _OF_MEASURES
        return (*other, *limits, *latency)

    @property
    def counted(self) -> str:
        """What a search counts, in a word."""
        return "architectures" if self.trainings is None else "trainings"

    @property
    def training(self) -> BuildSettings:
        """How networks are trained: as those of a reference table with these settings."""
        return BuildSettings(
            space=self.space,
            data=self.data,
            steps=self.training_steps,
            image_size=self.image_size,
            seed=self.seed,
            width=self.width or _WIDTH,
            **{name: getattr(self, name) for name in _OF_TRAININGS if name not in _OTHERWISE},
        )

    @property
    def sizes_in_words(self) -> str:
        """How wide networks are, and what limits them, in words."""
        told = ["" if self.width is None else f"width C={self.width}"]
        if self.depths is not None:
            told.append(f"depths {','.join(map(str, self.depths))}")
        if self.max_params is not None:
            told.append(f"at most {self.max_params:,} parameters")
        if self.max_macs is not None:
            told.append(f"at most {self.max_macs:,} multiply-adds")
        if self.max_latency is not None:
            told.append(f"at most {self.max_latency:g} ms for {self.latency_batch} image(s)")
        return ", ".join(filter(None, told))

    def in_words(self) -> str:
        """How networks are about to be measured or trained, for the title of a run."""
        if self.trainings is None:
            return ", ".join(filter(None, [super().in_words(), self.sizes_in_words]))
        from proxies.evaluation import resolve_device

        return (
            f"{self.training_steps} steps of {self.batch_size} images each, {self.image_size} px, "
            f"{self.sizes_in_words}, device {resolve_device(self.device)}, seed {self.seed}"
        )


def _trains(given: Mapping[str, Any]) -> bool:
    """Whether settings with these values train networks."""
    return (
        given.get("controller") == PREDICTOR
        or given.get("trainings") is not None
        or given.get("proxies") in (ACCURACY, (ACCURACY,), [ACCURACY])
    )

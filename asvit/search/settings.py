"""What a search is asked to do: by measures of fresh networks, or by short trainings."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Self

from asvit.core.console import quantity
from asvit.core.settings import (
    Presets,
    fields_of,
    presets_with,
    setting,
    setting_of,
    settings_class,
)
from asvit.core.shared_settings import (
    OF_LATENCY,
    MeasuringSettings,
    check_command,
    command_setting,
    latency_choices,
    proxy_names,
    runtime_setting,
)
from asvit.reference.findings import LEAST_TRAININGS
from asvit.training.short_settings import (
    CandidateSettings,
    SupernetSettings,
    balance_setting,
    initial_weights,
    take_classes,
)
from scaling import parse_amount, parse_milliseconds

_ONE_BY_ONE = ("tpe", "nsga2")  # Optuna's own, which see whatever has been measured

ACCURACY = "accuracy"  # per cent: the objective of a search that trains
PREDICTOR = "predictor"  # the controller that needs it

_TRAINING = "Search by short trainings"  # headings of their options
_LIMITS = "Limits of the networks"
_WIDTH = 16  # of trainings, channels of the first stage
_TRAININGS = 24

FINALISTS = 2  # architectures that a search trains again with fresh seeds
_FINAL = ((12, 2), (40, 3))  # from so many trainings on, how often each of them

LIMITS = ("max_params", "max_macs", "max_latency")
#: Defaults that depend on the kind of search.
_OF_MEASURES: Mapping[str, int] = {"image_size": 224, "batch": 1, "classes": 1000}
_OF_TRAININGS: Mapping[str, int] = {"image_size": 32, "batch": 4, "classes": 20}
#: Settings that trainings have by the same names.
_OF_CANDIDATES = (
    *("batch_size", "learning_rate", "train_images", "test_images"),
    *("classes", "shift", "flip", "crop_scale", "color_jitter", "fit", "ground"),
    *("init", "optimizer", "balance"),
)

#: Widths that are multiples of this are multiplied faster by GPUs, whose matrix units take blocks.
_ALIGNED = 8
# What networks have at least that keep a GPU busy. Those below are narrow: in multiples of 8
# channels they would have half of what they may have, for nothing.
_BUSY_PARAMS, _BUSY_MACS = 5_000_000, 100_000_000

_of_training = partial(setting, group=_TRAINING)
_as_supernets = partial(setting_of, SupernetSettings, group=_TRAINING)


def usual_multiple(device: str, params: int | None, macs: int | None) -> int:
    """The default width multiple on a device, for these limits of networks."""
    busy = macs >= _BUSY_MACS if macs is not None else (params or 0) >= _BUSY_PARAMS
    return _ALIGNED if device.startswith("cuda") and busy else 1


def _limit(read: Callable[[Any], Any], help: str, *, metavar: str = "N", unit: str = "") -> Any:
    """A limit of the networks, none by default: a number, or a text that ``read`` takes."""
    options = {"convert": read, "parse": read, "spell": f"{{}}{unit}".format}
    return setting(None, help, metavar=metavar, group=_LIMITS, **options)


@settings_class
class SearchSettings(MeasuringSettings):
    """Settings of a search by measures of fresh networks, or by short trainings where it has some.

    Equal settings draw the same architectures.
    """

    presets: ClassVar[Presets] = presets_with(
        quick={
            **MeasuringSettings.presets["quick"],
            "classes": 10,
            "training_steps": 150,
            "batch_size": 32,
            "train_images": 1_000,
            "test_images": 500,
        }
    )

    space: str = setting(
        "asvit",
        "Search space (see asvit list spaces), or several, such as asvit,resnet.",
        metavar="NAME",
        complete="asvit.spaces:SPACES",
        several=True,
    )
    controller: str = setting(
        "reinforce",
        "What proposes architectures (see asvit list controllers).",
        metavar="NAME",
        complete="asvit.search:CONTROLLERS",
    )
    proxies: tuple[str, ...] = setting(
        ("length_distortion", "ntk_condition_number"),
        "Measure to use; repeat it or separate names by commas (see asvit list proxies). Those "
        "with a direction are the objectives, in this order.",
        name="proxy",
        metavar="NAME",
        convert=proxy_names,
        complete="proxies:PROXIES",
    )
    steps: int = setting(500, "Architectures to measure.", at_least=1)
    recheck: int = setting(
        8, "Fresh networks on which each finalist is measured again.", at_least=1
    )
    pick: Literal["measured", "policy"] = setting(
        "measured",
        "Which finalist the search returns: the best when measured again (measured), or the "
        "policy's likeliest architecture, as in the paper (policy).",
        choices=("measured", "policy"),
    )
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

    max_params: int | None = _limit(
        parse_amount,
        "Parameters that a network may have, such as 5M; every network is as wide as this and "
        "--max-macs allow, if its space has widths.",
    )
    max_macs: int | None = _limit(
        parse_amount, "Multiply-adds that a network may take for an image, such as 600M."
    )
    width_multiple: int | None = setting(
        None,
        "Below --max-params and --max-macs, widths are multiples of N where these allow it.",
        shown=f"{_ALIGNED} on GPUs for {_BUSY_MACS // 10**6}M multiply-adds or "
        f"{_BUSY_PARAMS // 10**6}M parameters on, else 1",
        at_least=1,
        group=_LIMITS,
    )
    max_latency: float | None = _limit(
        parse_milliseconds,
        "Time that a forward pass may take on --device, such as 8ms.",
        metavar="TIME",
        unit="ms",
    )
    latency_batch: int = setting(1, "Images of that pass.", at_least=1, group=_LIMITS)
    latency_runtime: Literal["eager", "onnx"] = runtime_setting(group=_LIMITS)
    latency_command: str | None = command_setting(group=_LIMITS)

    trainings: int = _of_training(
        0,
        "Search by this many short trainings in place of measures, for accuracy on held-out "
        "images.",
        shown="24 with --controller predictor",
        at_least=0,
    )
    seeds: int = _of_training(
        1,
        "Trainings of each drawn architecture, with --controller random: a table of accuracies "
        "whose noise is known.",
        at_least=1,
    )
    training_steps: int = _of_training(1_400, "Batches of each training.", at_least=1)
    batch_size: int = _of_training(64, "Images in a batch of a training.", at_least=1)
    learning_rate: float = _of_training(
        2e-3, "Highest learning rate of a training.", metavar="N", above=0
    )
    width: int | None = _of_training(
        None,
        "Channels of the first stage in trainings, if the networks of the space have a width.",
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
        None,
        "Classes of the fractals to train on; other images have their own.",
        shown="20",
        at_least=2,
    )
    shift: int = _as_supernets("shift")
    flip: bool = _as_supernets("flip")
    crop_scale: float = _as_supernets("crop_scale")
    color_jitter: float = _as_supernets("color_jitter")
    fit: str = _as_supernets("fit")
    ground: str = _as_supernets("ground")
    init: Literal["xavier", "own"] = initial_weights(group=_TRAINING)
    optimizer: Literal["adamw", "muon"] = _of_training(
        "adamw",
        "AdamW, or Muon, which takes about three times its learning rate.",
        choices=("adamw", "muon"),
    )
    balance: Literal["none", "sampling"] = balance_setting(group=_TRAINING)

    def __post_init__(self) -> None:
        by_accuracy = self.proxies in (ACCURACY, (ACCURACY,), [ACCURACY])
        values: dict[str, Any] = {}
        if self.trainings == 0 and (by_accuracy or self.controller == PREDICTOR):
            values["trainings"] = _TRAININGS
        trains = self.trainings != 0 or bool(values)
        usual = _OF_TRAININGS if trains else _OF_MEASURES
        if trains:
            take_classes(self)
        if trains and self.width is None and self.max_params is None and self.max_macs is None:
            values["width"] = _WIDTH
        if self.controller in _ONE_BY_ONE:
            usual = {**usual, "batch": 1}
        values |= {name: of for name, of in usual.items() if getattr(self, name) is None}
        foreign = _MEASURED if trains else _TRAINED
        for name, field in fields_of(SearchSettings).items():
            value = getattr(self, name)
            if name not in foreign or (name == "proxies" and by_accuracy):
                continue
            if value not in (field.default, usual.get(name)):
                raise ValueError(
                    f"{name}={value} is for searches that {'measure' if trains else 'train'}, and "
                    f"this one {'trains' if trains else 'measures'}; leave it out"
                )
        if trains:
            values["proxies"] = (ACCURACY,)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    @classmethod
    def make(cls, preset: str = "default", **options: Any) -> Self:
        """Settings of a preset, as far as it is of the kind of search that the options are of."""
        given = {name: value for name, value in options.items() if value is not None}
        foreign = _MEASURED | {"image_size"} if cls(**given).trains else _TRAINED
        usual = {n: value for n, value in cls.presets[preset].items() if n not in foreign}
        settings = cls(**{**usual, **given})
        if settings.width_multiple is not None and not settings.sized:
            raise ValueError(
                f"width_multiple={settings.width_multiple} is for max_params and max_macs; give "
                "one of them, too"
            )
        return settings

    def check(self) -> None:
        """Check that the controller can learn from batches, and has what it needs."""
        if self.batch > 1 and self.controller in _ONE_BY_ONE:
            raise ValueError(
                f"batch={self.batch} does not suit controller {self.controller!r}, which learns "
                "after every architecture; use batch=1 (repeats are still shared among workers)"
            )
        check_command(self.latency_command, self.latency_runtime)
        for name, value in latency_choices(self).items() if self.max_latency is None else ():
            raise ValueError(f"{name}={value} is for max_latency; give that, too")
        if not self.trains and ACCURACY in self.proxies:
            raise ValueError(
                f"a search for the {ACCURACY} trains networks; give trainings, too, and no other "
                "measures"
            )
        if self.seeds > 1 and self.controller != "random":
            raise ValueError(
                f"seeds={self.seeds} is for controller random; {self.controller} chooses itself "
                "what to train again"
            )
        if self.controller == PREDICTOR and self.trainings < LEAST_TRAININGS:
            raise ValueError(
                f"trainings={self.trainings} are too few to learn from; use at least "
                f"{LEAST_TRAININGS}"
            )

    @property
    def trains(self) -> bool:
        """Whether networks are trained."""
        return self.trainings > 0

    @property
    def counted(self) -> str:
        """What a search counts, in the singular."""
        return "training" if self.trains else "architecture"

    @property
    def size_in_words(self) -> str:
        """How much is measured or trained, such as ``24 trainings``."""
        return quantity(self.trainings or self.steps, self.counted)

    @property
    def final_trainings(self) -> int:
        """How often each finalist is trained again, out of the trainings; 0 where they are few.

        With several ``seeds`` there are some of all.
        """
        times = [times for least, times in _FINAL if self.trainings >= least]
        return 0 if self.seeds > 1 else max(times, default=0)

    @property
    def trials(self) -> int:
        """How many architectures are drawn, to be measured or trained."""
        if not self.trains:
            return self.steps
        return self.trainings - FINALISTS * self.final_trainings

    @property
    def sized(self) -> bool:
        """Whether networks are as wide as limits allow."""
        return self.width is None and (self.max_params is not None or self.max_macs is not None)

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return any(getattr(self, name) is not None for name in LIMITS)

    @property
    def leading(self) -> Sequence[str]:
        """A search that trains is known by its trainings."""
        return ("trainings",) if self.trains else ()

    @property
    def unused(self) -> Sequence[str]:
        """Settings of the other kind of search, and of limits that there are not."""
        limits = () if self.limited else LIMITS
        widths = () if self.sized else ("width_multiple",)
        latency = () if self.max_latency is not None else OF_LATENCY
        return (*(_MEASURED if self.trains else _TRAINED), *limits, *widths, *latency)

    def difference(self, other: Self) -> dict[str, tuple[Any, Any]]:
        """As the base finds it; between searches of two kinds, in what they count."""
        if self.trains == other.trains:
            return super().difference(other)
        return {"search": (f"by {self.counted}s", f"by {other.counted}s")}

    @property
    def training(self) -> CandidateSettings:
        """How networks are trained."""
        return CandidateSettings(
            data=self.data,
            steps=self.training_steps,
            image_size=self.image_size,
            seed=self.seed,
            **{name: getattr(self, name) for name in _OF_CANDIDATES},
        )

    @property
    def limits_in_words(self) -> str:
        """What limits networks, in words."""
        where = f" by {self.latency_command}" if self.latency_command else ""
        multiple = self.sized and (self.width_multiple or 1) > 1
        limits = {
            f"at most {self.max_params or 0:,} parameters": self.max_params,
            f"at most {self.max_macs or 0:,} multiply-adds": self.max_macs,
            f"widths multiples of {self.width_multiple}": multiple,
            f"at most {self.max_latency or 0:g} ms for {self.latency_batch} image(s){where}": (
                self.max_latency
            ),
        }
        return ", ".join(words for words, limit in limits.items() if limit)

    def in_words(self, device: str | None = None) -> str:
        """How networks are about to be measured or trained, for the title of a run."""
        if not self.trains:
            measured = super().in_words(device)
            return ", ".join(filter(None, [measured, self.limits_in_words]))
        from proxies.evaluation import resolve_device

        width = "" if self.width is None else f"width C={self.width}"
        sizes = ", ".join(filter(None, [width, self.limits_in_words]))
        return (
            f"{self.training_steps} steps of "
            f"{self.batch_size} images each, {self.image_size} px, {sizes}, "
            f"device {device or resolve_device(self.device)}, seed {self.seed}"
        )


#: Settings without effect on a search that trains, and on one that measures.
_MEASURED = frozenset(
    {"proxies", "steps", "recheck", "pick", "repeats", "images", "points", "radius"}
)
_TRAINED = frozenset({*_OF_CANDIDATES, "trainings", "seeds", "training_steps", "width"})

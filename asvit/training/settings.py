"""Settings of a training, with the recipe's values filled in."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from asvit.core.settings import (
    SEED,
    Presets,
    Settings,
    presets_with,
    setting,
    settings_class,
)
from asvit.core.shared_settings import FIT, GROUND
from asvit.training.recipes import MUON_RATE, RECIPES, REFERENCE_BATCH, WARMUP_SHARE
from asvit.training.short_settings import balance_setting, initial_weights, labelled_data
from proxies.text import shown

if TYPE_CHECKING:
    from asvit.training.augmentation import Augmentation

FEW = 2_000  # pictures, with fewer of which weights from elsewhere are the better start
TOP = 5  # of "top-5", which is always 100 % with so many classes or fewer

STAGES: Final = 3  # coarse, middle, full: the stages of asvit.models.token_stages
#: Tenths of a training after which the stages of ``auto`` end. Our choice: 120/90/90 of 300 epochs
#: is the only plan in multiples of ten epochs that saves the published 56.2 % of the FLOPs (time:
#: 41.1 %) at the published costs.
AUTO: Final = (4, 7)
OFF: Final = "off"


_OWN = "the network's own"
_RECIPE = "the recipe's"
_ZERO_TO_ONE: Mapping[str, Any] = {"at_least": 0, "at_most": 1}


def _by_recipe(default: Any, help: str, **options: Any) -> Any:
    """A setting whose value is the recipe's unless it is given."""
    return setting(default, help, shown=_RECIPE, **options)


def _fine_tuning(side: int, classes: int) -> Mapping[str, Any]:
    return {"recipe": "finetune", "image_size": side, "new_head": True, "classes": classes}


@dataclass(frozen=True)
class TokenPlan:
    """How many epochs to train at each stage of tokens, coarse to fine.

    A stage may have none, except the last: the network is used at full resolution.
    """

    epochs: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.epochs[-1] == 0:
            raise ValueError(
                f"{self} leaves no epoch for tokens of full resolution; give the last stage 1 or "
                "more"
            )

    @classmethod
    def parse(cls, text: str, epochs: int) -> Self:
        """Parse epochs of each stage, as ``"120/90/90"``, ``"auto"`` or ``"off"``."""
        if text == OFF:
            return cls((*(0,) * (STAGES - 1), epochs))
        if text == "auto":
            first, second = (end * epochs // 10 for end in AUTO)
            return cls((first, second - first, epochs - second))
        parts = text.split("/")
        if len(parts) != STAGES or not all(part.isascii() and part.isdecimal() for part in parts):
            raise ValueError(
                f"{shown(text)} is not a plan of {STAGES} stages of tokens; use epochs such as "
                f"120/90/90, 'auto' or '{OFF}'"
            )
        plan = tuple(map(int, parts))
        if sum(plan) != epochs:
            raise ValueError(
                f"{text} is {sum(plan)} epochs, but the training has {epochs}; use epochs that "
                "add up to it"
            )
        return cls(plan)

    def __str__(self) -> str:
        """``"120/90/90"``, or ``"off"`` without coarse stages; :meth:`parse` reads it."""
        return OFF if self.is_off else "/".join(map(str, self.epochs))

    @property
    def is_off(self) -> bool:
        """Whether all epochs use full resolution."""
        return self.epochs[-1] == sum(self.epochs) > 0

    def stage(self, epoch: int) -> int:
        """The stage of an epoch, both from 0."""
        return next(i for i, end in enumerate(accumulate(self.epochs)) if epoch < end)


@settings_class
class TrainSettings(Settings):
    """Settings of a training. On a CPU, equal settings give equal weights.

    The defaults are those of recipe ``swin``, which we use for As-ViT, whose own recipe was never
    published. :meth:`make` fills in the values of other recipes.
    """

    #: CIFAR-100 at 384 px and Stanford Dogs at 448 px are the fine-tuning tasks of the
    #: hallucinated networks. Only the sizes are published; the rest is our choice.
    presets: ClassVar[Presets] = presets_with(
        quick={
            "recipe": "small",
            "data": "fractal:5",
            "image_size": 32,
            "epochs": 10,
            "batch_size": 32,
            "learning_rate": 6e-3,
        },
        **{
            "cifar100-384": _fine_tuning(384, classes=100),
            "dogs-448": _fine_tuning(448, classes=120),
        },
    )

    architecture: str = setting(
        ...,
        "Architecture, or the folder of a run that ended in one.",
        metavar="ARCH",
        argument=True,
        complete="architectures",
    )
    attention: str | None = setting(
        None,
        "Attention: hallucinated computes half of the maps from the others; settings of "
        "asvit.convert may follow, as hallucinated(maps=copy).",
        shown=_OWN,
    )
    ffn: str | None = setting(
        None,
        "Feed-forward layers: compact ones are factorised; compact(factored=first) has settings.",
        shown=_OWN,
    )
    data: str = labelled_data()
    validation: str | None = setting(
        None,
        "Folder, or wds:PATTERN, to validate on.",
        metavar="DATA",
        shown="a part of the data",
        complete="paths",
    )
    held_out: float = setting(
        0.1, "Share of the data to validate on, if it has no split of its own.", above=0, below=1
    )
    train_on_validation: bool = setting(
        False,
        "Train on the validation images, too; the accuracy on them is then no estimate.",
    )
    classes: int | None = setting(
        None,
        "Number of fractal classes; of other data, the required number.",
        at_least=2,
        shown="the data's own",
    )
    train_images: int | None = setting(None, "Train on this many images.", at_least=1, shown="all")
    validation_images: int | None = setting(
        None, "Validate on this many images.", at_least=1, shown="all"
    )
    image_size: int = setting(224, "Side of the square images, in pixels.", at_least=1)
    balance: Literal["none", "sampling"] = balance_setting()
    recipe: str = setting(
        "swin",
        "Values of the options below: deit, swin, pvt, nextvit, shiftvit, small or finetune.",
        metavar="NAME",
        complete="asvit.training.recipes:RECIPES",
    )
    epochs: int = _by_recipe(300, "Passes over the training images.", at_least=1)
    hours: float | None = setting(
        None,
        "Train for about this long at most, with fewer epochs where these would take longer.",
        above=0,
        shown="as long as the epochs take",
    )
    batch_size: int = _by_recipe(1024, "Images per update, over all processes.", at_least=1)
    optimizer: str = _by_recipe(
        "adamw", "Optimiser: adamw, sgd or muon.", choices=("adamw", "sgd", "muon")
    )
    learning_rate: float = setting(
        1e-3,
        "Peak learning rate, after the warm-up.",
        above=0,
        shown=f"{_RECIPE}, times batch size / 512; with Muon three times that",
    )
    weight_decay: float = _by_recipe(
        0.05,
        "Weight decay of matrices; biases, norms and what the network exempts have none.",
        at_least=0,
    )
    warmup_epochs: int = setting(
        20,
        "Epochs of linear warm-up; a cosine decay follows.",
        at_least=0,
        shown=f"{_RECIPE}, at most a fifth",
    )
    clip: float = _by_recipe(5.0, "Largest gradient norm; 0 for none.", at_least=0)
    drop_path: float = _by_recipe(
        0.2,
        "Drop-path probability of the last block, on a linear ramp; 0 for the network's own.",
        at_least=0,
        below=1,
    )
    label_smoothing: float = _by_recipe(
        0.1, "Share of the target spread over all classes.", at_least=0, below=1
    )
    auto_augment: str = _by_recipe(
        "rand-m9-mstd0.5-inc1", "Random augmentation in timm's notation, or none."
    )
    color_jitter: float = _by_recipe(
        0.4, "Colour jitter strength, without a random augmentation.", at_least=0
    )
    erasing: float = _by_recipe(0.25, "Random erasing probability.", **_ZERO_TO_ONE)
    mixup: float = _by_recipe(0.8, "Alpha of mixup; 0 for none.", at_least=0)
    cutmix: float = _by_recipe(1.0, "Alpha of CutMix; 0 for none.", at_least=0)
    crop_scale: float = _by_recipe(
        0.08, "Smallest share of an image's area in a crop.", above=0, at_most=1
    )
    shift: int = _by_recipe(
        0, "Largest shift of a training image along each axis, in pixels.", at_least=0
    )
    crop_pct: float = _by_recipe(
        0.875,
        "Share of the side that the centre crop for validation keeps.",
        at_least=0.05,
        at_most=1,
    )
    fit: str = FIT
    ground: str = GROUND
    flip: float = _by_recipe(0.5, "Probability of a horizontal flip.", **_ZERO_TO_ONE)
    precision: str = setting(
        "auto",
        "Arithmetic: fp32, tf32, bf16 by autocast, or auto: bf16 where it is faster, on GPUs and "
        "for convolutions on CPUs that have it, else fp32.",
        choices=("auto", "fp32", "tf32", "bf16"),
    )
    grad_checkpointing: bool = setting(
        False, "Recompute blocks in the backward pass: less memory, more time."
    )
    retokenize: str = setting(
        "off",
        "Epochs of each stage of tokens: 120/90/90, auto (these shares of all) or off.",
    )
    weights: str | None = setting(
        None,
        "File of weights, or run folder of a training or design, to start from.",
        metavar="FILE",
        complete="paths",
    )
    init: Literal["xavier", "own"] = initial_weights("own", shown=_RECIPE)
    new_head: bool = setting(False, "Start with a fresh classifier.")
    teacher: str | None = setting(
        None, "Architecture of a teacher for knowledge distillation.", metavar="ARCH"
    )
    teacher_weights: str | None = setting(
        None,
        "The teacher's file of weights or run folder, or timm for published ones.",
        metavar="FILE",
        complete="paths",
    )
    seed: int = SEED

    @property
    def leading(self) -> Sequence[str]:
        """The recipe, and what it leaves to the user."""
        return "recipe", "epochs", "batch_size"

    @property
    def unused(self) -> Sequence[str]:
        """What is set for distillation without a teacher."""
        return ("teacher_weights",) if self.teacher is None else ()

    @property
    def staged(self) -> bool:
        """Whether the first epochs use coarser tokens."""
        return not self.plan.is_off

    @property
    def augmentation(self) -> Augmentation:
        """The augmentation of training images."""
        from asvit.training.augmentation import Augmentation

        return Augmentation.of(self)

    @property
    def lowest_rates(self) -> tuple[float, float]:
        """Learning rates at the start of the warm-up and at the end, of the recipe."""
        recipe, highest = RECIPES[self.recipe], self.learning_rate
        return min(recipe["first_rate"], highest), min(recipe["last_rate"], highest)

    @property
    def plan(self) -> TokenPlan:
        """Epochs of each stage of tokens."""
        return TokenPlan.parse(self.retokenize, self.epochs)

    def check(self) -> None:
        """Check values that depend on each other."""
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} leaves nothing of epochs={self.epochs}; "
                "use fewer"
            )
        if self.hours is not None and self.staged:
            raise ValueError(
                f"retokenize={self.retokenize!r} divides a known number of epochs, and "
                f"hours={self.hours:g} leaves it open; use one of them"
            )
        if self.teacher is None and self.teacher_weights is not None:
            raise ValueError(
                f"teacher_weights={self.teacher_weights!r} without a teacher; name it"
            )
        if self.teacher is not None and self.teacher_weights is None:
            raise ValueError(
                f"teacher {self.teacher!r} knows nothing without weights; give teacher_weights a "
                "file, or 'timm' for those that timm publishes"
            )
        if self.new_head and self.weights is None:
            raise ValueError("new_head is about weights to start from; give weights, too")
        _ = self.plan

    @classmethod
    def make(cls, preset: str = "default", **given: Any) -> Self:
        """Settings of a preset and its recipe, with the given ones in their place.

        The learning rate follows the batch: the recipe's for 512 images, times ``batch_size`` /
        512, and three times that with Muon. If the epochs are given, but not the warm-up, it takes
        at most a fifth of them. Images that are padded or squashed are not cropped for validation,
        either, unless ``crop_pct`` is given.
        """
        requested = {**cls.presets[preset], **given}
        return super().make(**_filled_in(requested, RECIPES[requested.get("recipe", "swin")]))


def _filled_in(requested: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The requested values, with the recipe's and those derived from others.

    Values of a wrong type are left for the settings to refuse.
    """
    values = {**recipe, **requested}
    del values["first_rate"], values["last_rate"]
    base = values.pop("base_rate") * (MUON_RATE if values.get("optimizer") == "muon" else 1)
    if isinstance(values["batch_size"], numbers.Integral):  # NumPy's, too
        values.setdefault("learning_rate", base * values["batch_size"] / REFERENCE_BATCH)
    if isinstance(values["epochs"], numbers.Integral) and "warmup_epochs" not in requested:
        values["warmup_epochs"] = min(values["warmup_epochs"], values["epochs"] // WARMUP_SHARE)
    if values.get("fit", "crop") != "crop" and "crop_pct" not in requested:
        values["crop_pct"] = 1.0
    return values

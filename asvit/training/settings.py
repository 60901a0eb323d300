"""What a training is asked to do: one frozen set of settings, kept with its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asvit.settings import (
    LARGEST,
    Settings,
    check_names,
    check_number,
    check_whole,
    field_names,
)
from asvit.training.images.augmentation import Augmentation
from asvit.training.recipes import PRESETS, RECIPES, REFERENCE_BATCH
from asvit.training.token_plan import TokenPlan
from proxies.messages import unknown

PRECISIONS = ("fp32", "bf16")
DISTILLATIONS = ("hard", "soft")
BAD_IMAGES = ("stop", "replace")
_WARMUP_SHARE = 5  # the warm-up is cut to a fifth of the epochs where it was not asked for
_BRANCHES = 2  # of compact parts, as asvit.convert has it
_SOFT_WEIGHT = 0.1  # of the teacher, as DeiT has it for soft distillation

_AT_LEAST = {
    "image_size": 1,
    "branches": 0,
    "epochs": 1,
    "batch_size": 1,
    "warmup_epochs": 0,
    "accumulate": 1,
    "repeats": 0,
    "seed": 0,
}
_TEXTS = ("architecture", "data", "recipe", "optimizer", "auto_augment", "retokenize")
_BELOW = ("min_lr", "warmup_lr")  # not above the learning rate
_RATES = ("weight_decay", "warmup_lr", "min_lr", "clip", "mixup", "cutmix", "color_jitter")
_SHARES = ("erasing", "flip", "distillation_weight", "crop_scale", "crop_pct")


@dataclass(frozen=True)
class TrainSettings(Settings):
    """Settings of a training. Two runs with equal settings on one CPU give equal weights.

    The defaults are those of recipe ``swin``, which we take for As-ViT, whose own was never
    published. :func:`make_settings` fills in those of other recipes.

    Attributes:
        architecture: Text of any space or family, or ``"timm:NAME"``.
        attention: ``"hallucinated"``, or None for the architecture's own.
        ffn: ``"compact"``, or None for the architecture's own.
        branches: Branches of compact parts; 0 without such parts.
        data: Images to train on, as :func:`asvit.data.open_training_sets` takes them.
        validation: Images to validate on, in the same form; None for a part of ``data``.
        held_out: Share of ``data`` that is that part, where it has none of its own.
        classes: Classes of fractals; how many there must be of other images. None for any.
        train_images: Train on so many images only; None for all.
        validation_images: Validate on so many images only; None for all.
        image_size: Side of the square images, in pixels.
        bad_images: What an image that cannot be read does: ``"stop"`` the training, or have
            another one ``"replace"`` it.
        recipe: Name of the recipe that values not given were taken from.
        epochs: Times that every training image is seen.
        batch_size: Images of an update, over all processes.
        accumulate: Parts that each process divides its share into, to save memory.
        optimizer: timm's name of the optimiser.
        learning_rate: Highest learning rate, after the warm-up.
        weight_decay: Decay of matrices; biases, norms and what the network names are spared.
        warmup_epochs: Epochs over which the learning rate rises; then it falls as a cosine.
        warmup_lr: Learning rate at the start of the warm-up.
        min_lr: Learning rate at the end.
        clip: Largest norm of the gradient; 0 for none.
        drop_path: Drop-path probability of the last block, up a linear ramp from 0; 0 for the
            network's own, which is 0 but for some of timm's.
        drop: Dropout in front of the head; 0 the same.
        label_smoothing: Share of the target spread over all classes.
        auto_augment: timm's text of a random augmentation; ``"none"`` for none.
        color_jitter: Strength of the colour jitter, where there is no random augmentation.
        erasing: Probability that a part of an image is erased.
        mixup: Alpha of mixup; 0 for none.
        cutmix: Alpha of CutMix; 0 for none.
        crop_scale: Smallest share of an image's area that a crop has.
        crop_pct: Share of the side that the middle crop for validation keeps.
        flip: Probability that an image is mirrored.
        repeats: Times that an image comes in a row, each time varied anew; 0 for once.
        ema: Decay of the moving average of the weights; 0 for none.
        precision: ``"fp32"``, or ``"bf16"`` for autocast.
        compile: Whether PyTorch compiles the network first.
        retokenize: Epochs of each stage of tokens; see
            :class:`asvit.training.token_plan.TokenPlan`.
        weights: File of weights, or run folder with one, to start from; None for fresh weights.
        new_head: Whether the classifier starts afresh beside such weights.
        teacher: Architecture text of a teacher to learn from; None for none.
        teacher_weights: File of its weights; ``"timm"`` for those that timm publishes.
        distillation: ``"hard"``: learn the teacher's decision; ``"soft"``: its probabilities.
        distillation_weight: Share of the loss that is about the teacher.
        temperature: Softens both sides' probabilities in soft distillation.
        seed: Seed of every random draw.

    Raises:
        ValueError: If a value is out of its range or of the wrong type, or values contradict each
            other.
    """

    architecture: str = ""
    attention: str | None = None
    ffn: str | None = None
    branches: int = 0
    data: str = "fractal"
    validation: str | None = None
    held_out: float = 0.1
    classes: int | None = None
    train_images: int | None = None
    validation_images: int | None = None
    image_size: int = 224
    bad_images: str = "stop"
    recipe: str = "swin"
    epochs: int = 300
    batch_size: int = 1024
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_epochs: int = 20
    warmup_lr: float = 5e-7
    min_lr: float = 5e-6
    clip: float = 5.0
    drop_path: float = 0.2
    drop: float = 0.0
    label_smoothing: float = 0.1
    auto_augment: str = "rand-m9-mstd0.5-inc1"
    color_jitter: float = 0.4
    erasing: float = 0.25
    mixup: float = 0.8
    cutmix: float = 1.0
    crop_scale: float = 0.08
    crop_pct: float = 0.875
    flip: float = 0.5
    repeats: int = 0
    ema: float = 0.0
    precision: str = "fp32"
    compile: bool = False
    retokenize: str = "off"
    weights: str | None = None
    new_head: bool = False
    teacher: str | None = None
    teacher_weights: str | None = None
    distillation: str = "hard"
    distillation_weight: float = 0.5
    temperature: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_values()
        self._check_together()

    @property
    def staged(self) -> bool:
        """Whether the network is trained with coarser tokens first."""
        return not self.plan.is_off

    @property
    def augmentation(self) -> Augmentation:
        """How training images are varied."""
        return Augmentation(
            auto_augment=None if self.auto_augment == "none" else self.auto_augment,
            color_jitter=self.color_jitter,
            erasing=self.erasing,
            mixup=self.mixup,
            cutmix=self.cutmix,
            hflip=self.flip,
            scale=self.crop_scale,
            crop_pct=self.crop_pct,
            repeats=self.repeats,
        )

    @property
    def plan(self) -> TokenPlan:
        """Epochs of each stage of tokens."""
        return TokenPlan.parse(self.retokenize, self.epochs)

    def _check_values(self) -> None:
        check_whole(self, _AT_LEAST)
        check_names(self, _TEXTS)
        for name, least in (("classes", 2), ("train_images", 1), ("validation_images", 1)):
            if getattr(self, name) is not None:
                check_whole(self, {name: least})
        for name, known in (
            ("precision", PRECISIONS),
            ("distillation", DISTILLATIONS),
            ("bad_images", BAD_IMAGES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}"
                )
        for name in ("new_head", "compile"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        for name in ("held_out", "learning_rate", "temperature"):
            below = 1.0 if name == "held_out" else LARGEST
            check_number(name, getattr(self, name), below, zero=False)
        for name in _RATES:
            check_number(name, getattr(self, name), LARGEST, zero=True)
        for name in ("drop_path", "drop", "label_smoothing", "ema"):
            check_number(name, getattr(self, name), 1.0, zero=True)
        for name in _SHARES:
            value = getattr(self, name)
            check_number(name, value, math.inf, zero=not name.startswith("crop"))
            if value > 1:
                raise ValueError(f"{name} must be at most 1, got {value}")

    def _check_together(self) -> None:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} leaves nothing of epochs={self.epochs}; "
                "use fewer"
            )
        for name in _BELOW:
            if getattr(self, name) > self.learning_rate:
                raise ValueError(
                    f"{name}={getattr(self, name):g} is above "
                    f"learning_rate={self.learning_rate:g}; use a lower one"
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


def make_settings(preset: str = "default", **given: Any) -> TrainSettings:
    """Settings of a preset and its recipe, with some of them given anew.

    The learning rate follows the batch: that of the recipe's batch of 512 images times
    ``batch_size`` / 512, and those at the start and the end are no higher. Where the epochs but
    not the warm-up are given, it takes no more than a fifth of them. Branches of compact parts are
    two.

    Raises:
        ValueError: If the preset or recipe is unknown or a value is not allowed.
        TypeError: If there is no such setting.
    """
    if preset not in PRESETS:
        raise ValueError(unknown("preset", preset, PRESETS))
    names = field_names(TrainSettings)
    for name in given:
        if name not in names:
            raise TypeError(unknown("setting", name, names))
    asked: dict[str, Any] = {**PRESETS[preset], **given}
    return TrainSettings(**_filled_in(asked, RECIPES[asked.get("recipe", "swin")]))


def _filled_in(asked: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, with the recipe's values and those that follow from others.

    Values of a wrong type are left for the settings to refuse.
    """
    values = {**recipe, **asked}
    base = values.pop("base_rate")
    if isinstance(values["batch_size"], int):
        values.setdefault("learning_rate", base * values["batch_size"] / REFERENCE_BATCH)
    rate = values.get("learning_rate")
    if isinstance(rate, int | float):
        values.update({name: min(values[name], rate) for name in _BELOW if name not in asked})
    if isinstance(values["epochs"], int) and "warmup_epochs" not in asked:
        values["warmup_epochs"] = min(values["warmup_epochs"], values["epochs"] // _WARMUP_SHARE)
    if values.get("ffn") is not None:
        values.setdefault("branches", _BRANCHES)
    if values.get("distillation") == "soft":
        values.setdefault("distillation_weight", _SOFT_WEIGHT)
    return values

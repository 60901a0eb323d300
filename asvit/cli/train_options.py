"""The options of ``asvit train`` that are settings of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from asvit.cli.options import POSITIVE, Setting, data_names, paths

F = TypeVar("F", bound=Callable[..., Any])

_RECIPE = "the recipe's"
_FROM_ZERO = click.IntRange(min=0)
_TEXT = {"type": str, "metavar": "TEXT"}
_NUMBER = {"type": float, "metavar": "X"}
_COUNT = {"type": POSITIVE, "metavar": "N"}

# Name, default as it is typed, help, and what kind of value it takes; in the order of the help.
_SETTINGS: tuple[tuple[str, str | None, str, dict[str, Any]], ...] = (
    ("--attention", "the network's own", "hallucinated: build half of the attention maps.", _TEXT),
    ("--ffn", "the network's own", "compact: factorised feed-forward parts.", _TEXT),
    (
        "--branches",
        "2",
        "Branches of compact parts in training.",
        {"type": _FROM_ZERO, "metavar": "N"},
    ),
    (
        "--data",
        "fractal",
        "fractal, digits, a folder of class folders, torchvision:NAME or hf:NAME.",
        {"metavar": "DATA", "shell_complete": data_names},
    ),
    (
        "--validation",
        "a part of the data",
        "Folder to validate with.",
        {"metavar": "DATA", "shell_complete": paths},
    ),
    (
        "--held-out",
        "0.1",
        "Share of the data to validate with, where it must be divided.",
        _NUMBER,
    ),
    (
        "--classes",
        "the data's own",
        "Classes of the fractals; of other data, how many there must be.",
        {"type": click.IntRange(min=2), "metavar": "N"},
    ),
    ("--train-images", "all", "Train on so many images.", _COUNT),
    ("--validation-images", "all", "Validate with so many images.", _COUNT),
    ("--bad-images", "stop", "stop or replace: what an unreadable image does.", _TEXT),
    ("--epochs", _RECIPE, "Times that every training image is seen.", _COUNT),
    ("--batch-size", _RECIPE, "Images of an update, over all processes.", _COUNT),
    ("--accumulate", "1", "Parts to divide a batch into, to save memory.", _COUNT),
    ("--optimizer", _RECIPE, "timm's name of the optimiser.", _TEXT),
    (
        "--learning-rate",
        "the recipe's, times batch size / 512",
        "Highest learning rate.",
        _NUMBER,
    ),
    ("--weight-decay", _RECIPE, "Weight decay of matrices.", _NUMBER),
    (
        "--warmup-epochs",
        f"{_RECIPE}, at most a fifth",
        "Epochs with a rising learning rate.",
        {"type": _FROM_ZERO, "metavar": "N"},
    ),
    ("--warmup-lr", _RECIPE, "Learning rate at the start.", _NUMBER),
    ("--min-lr", _RECIPE, "Learning rate at the end.", _NUMBER),
    ("--clip", _RECIPE, "Largest norm of the gradient; 0 for none.", _NUMBER),
    ("--drop-path", _RECIPE, "Drop-path probability of the last block.", _NUMBER),
    ("--drop", "0", "Dropout in front of the head.", _NUMBER),
    ("--label-smoothing", _RECIPE, "Share of the target spread over all classes.", _NUMBER),
    ("--auto-augment", _RECIPE, "timm's random augmentation, or none.", _TEXT),
    ("--color-jitter", _RECIPE, "Strength of the colour jitter, without the above.", _NUMBER),
    ("--erasing", _RECIPE, "Probability that a part of an image is erased.", _NUMBER),
    ("--mixup", _RECIPE, "Alpha of mixup; 0 for none.", _NUMBER),
    ("--cutmix", _RECIPE, "Alpha of CutMix; 0 for none.", _NUMBER),
    ("--crop-scale", _RECIPE, "Smallest share of an image's area in a crop.", _NUMBER),
    ("--crop-pct", _RECIPE, "Share of the side that validation keeps.", _NUMBER),
    ("--flip", _RECIPE, "Probability that an image is mirrored.", _NUMBER),
    (
        "--repeats",
        _RECIPE,
        "Copies of an image in an epoch of fewer images.",
        {"type": _FROM_ZERO, "metavar": "N"},
    ),
    ("--ema", _RECIPE, "Decay of the moving average of the weights; 0 for none.", _NUMBER),
    ("--precision", "fp32", "fp32, or bf16 for autocast.", _TEXT),
    (
        "--retokenize",
        "off",
        "Epochs of each stage of tokens: 120/90/90, 0.4/0.3/0.3, auto or off.",
        _TEXT,
    ),
    (
        "--weights",
        None,
        "File of weights, or run folder of a training, to start from.",
        {"metavar": "FILE", "shell_complete": paths},
    ),
    ("--teacher", None, "Architecture of a teacher to learn from, too.", {"metavar": "ARCH"}),
    (
        "--teacher-weights",
        None,
        "Its file of weights or run folder, or timm for published ones.",
        {"metavar": "FILE", "shell_complete": paths},
    ),
    ("--distillation", "hard", "hard or soft: learn its decisions or probabilities.", _TEXT),
    (
        "--distillation-weight",
        "0.5, soft 0.1",
        "Share of the loss that is about the teacher.",
        _NUMBER,
    ),
    ("--temperature", "3", "Of soft distillation.", _NUMBER),
)


def setting_options(command: F) -> F:
    """Add the options for settings."""
    for name, default, text, kind in reversed(_SETTINGS):
        shown: Any = default if default is not None else False
        command = click.option(name, cls=Setting, show_default=shown, help=text, **kind)(command)
    return command

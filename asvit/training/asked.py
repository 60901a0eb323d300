"""What the settings of everything that trains have in common."""

from __future__ import annotations

from typing import Protocol

from asvit.settings import LARGEST, check_names, check_number
from asvit.training.short import Recipe


class Asked(Protocol):
    """Settings with a recipe, whose warm-up is a share of the steps, and with images."""

    @property
    def data(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> int: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def weight_decay(self) -> float: ...  # noqa: D102
    @property
    def warmup(self) -> float: ...  # noqa: D102
    @property
    def label_smoothing(self) -> float: ...  # noqa: D102
    @property
    def clip(self) -> float: ...  # noqa: D102
    @property
    def shift(self) -> int: ...  # noqa: D102
    @property
    def flip(self) -> bool: ...  # noqa: D102


def check_asked(asked: Asked) -> None:
    """Check the names, the numbers of the recipe that need not be whole, and the switch.

    Raises:
        ValueError: If one is out of its range or of the wrong type.
    """
    check_names(asked, ("space", "data"))
    for name in ("learning_rate", "clip"):
        check_number(name, getattr(asked, name), LARGEST, zero=False)
    for name in ("weight_decay", "warmup", "label_smoothing"):
        check_number(name, getattr(asked, name), 1.0, zero=True)
    if not isinstance(asked.flip, bool):
        raise ValueError(f"flip must be true or false, got {asked.flip!r}")


def images_of(asked: Asked) -> str:
    """Where the images come from, with the number of classes."""
    return f"fractal:{asked.classes}" if asked.data == "fractal" else asked.data


def recipe_of(asked: Asked, steps: int) -> Recipe:
    """The recipe of so many steps."""
    return Recipe(
        steps=steps,
        batch_size=asked.batch_size,
        learning_rate=asked.learning_rate,
        weight_decay=asked.weight_decay,
        warmup=round(asked.warmup * steps),
        label_smoothing=asked.label_smoothing,
        clip=asked.clip,
        shift=asked.shift,
        flip=asked.flip,
    )

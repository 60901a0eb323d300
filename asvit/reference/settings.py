"""What a correlation is asked to do: how to measure, and what to make of the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asvit.settings import (
    Settings,
    check_names,
    check_radius,
    check_whole,
    from_preset,
    proxy_names,
)
from scaling.budget import Budget

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "quick": {"repeats": 1, "images": 8},
}

ALL = "all"

_AT_LEAST = {"repeats": 1, "images": 2, "points": 3, "seed": 0}


@dataclass(frozen=True)
class CorrelationSettings(Settings):
    """How the networks of a reference table are measured; equal settings give equal values.

    Attributes:
        image_size: Side of the square images that every row is measured on, in pixels; None for
            each row's own, the one that its accuracies are of.
        repeats: Freshly initialised networks each value is averaged over.
        images: Images in a batch.
        points: Points on the circle.
        radius: Radius of the circle: ``"sqrt_n"``, ``"unit"`` or a positive number.
        data: Where the images come from, as :func:`asvit.data.load_images` takes it.
        seed: Seed of every random draw.
        device: Where networks are measured: ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Raises:
        ValueError: If a value is out of its range or of the wrong type.
    """

    image_size: int | None = None
    repeats: int = 2
    images: int = 16
    points: int = 10
    radius: Literal["sqrt_n", "unit"] | float = "sqrt_n"
    data: str = "fractal"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_whole(self, _AT_LEAST)
        if self.image_size is not None:
            check_whole(self, {"image_size": 1})
        check_names(self, ("data", "device"))
        check_radius(self.radius)


@dataclass(frozen=True)
class Question(Settings):
    """What is asked of a table: other questions need other values, but change none.

    Attributes:
        proxies: Measures; ``"all"`` stands for every registered one, ``"a+b"`` for the sum of the
            ranks by a and by b.
        targets: Accuracies to correlate with, by name; ``"all"`` stands for all of the table, and
            none at all for its default one.
        rows: So many rows of the table, drawn at random by the seed; None for all.
        max_params: Rows of at most so many parameters, such as ``"100M"``; None for all.

    Raises:
        ValueError: If a value is out of its range or of the wrong type.
    """

    proxies: tuple[str, ...] = (ALL,)
    targets: tuple[str, ...] = ()
    rows: int | None = None
    max_params: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "proxies", proxy_names(self.proxies))
        object.__setattr__(self, "targets", _names(self.targets))
        if self.rows is not None:
            check_whole(self, {"rows": 1})
        if self.max_params is not None:
            object.__setattr__(self, "max_params", str(_params(self.max_params)))

    @property
    def most_params(self) -> int | None:
        """:attr:`max_params` as a number."""
        return None if self.max_params is None else _params(self.max_params).amount


def make_settings(preset: str = "default", **given: Any) -> CorrelationSettings:
    """Settings of a preset with some of them given anew.

    Raises:
        ValueError: If the preset is unknown or a value is not allowed.
        TypeError: If there is no such setting.
    """
    return from_preset(CorrelationSettings, PRESETS, preset, given)


def make_question(**given: Any) -> Question:
    """A question from what a caller gave, with one name or several for proxies and targets.

    Raises:
        ValueError: If a value is not allowed.
    """
    return Question(**{name: value for name, value in given.items() if value is not None})


def _names(targets: object) -> tuple[str, ...]:
    names = (targets,) if isinstance(targets, str) else targets
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"targets must be names of accuracies, got {targets!r}")
    return tuple(dict.fromkeys(names))


def _params(text: object) -> Budget:
    if not isinstance(text, str):
        raise ValueError(f"max_params must be a text such as '100M', got {text!r}")
    budget = Budget.parse(text)
    if budget.unit != "params":
        raise ValueError(f"max_params must count parameters, such as '100M', got {text!r}")
    return budget

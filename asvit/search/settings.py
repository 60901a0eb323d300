"""What a search is asked to do: one frozen set of settings, kept with its results."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "quick": {"image_size": 64, "repeats": 3, "images": 8},
}

_AT_LEAST = {
    "steps": 1,
    "repeats": 1,
    "image_size": 1,
    "images": 2,
    "points": 3,
    "seed": 0,
    "batch": 1,
}


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search. Two runs with equal settings measure the same architectures.

    Attributes:
        space: Name of the search space.
        controller: Name of what proposes architectures.
        proxies: Measures; those with a direction are the objectives, in this order.
        steps: Architectures to measure.
        repeats: Freshly initialised networks each value is averaged over.
        image_size: Side of the square images, in pixels.
        images: Images in the kernel's batch.
        points: Points on the circle.
        radius: Radius of the circle: ``"sqrt_n"``, ``"unit"`` or a positive number.
        data: Where the images come from, as :func:`asvit.data.load_images` takes it.
        seed: Seed of every random draw.
        device: Where networks are measured: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        batch: Architectures drawn from the policy between two of its updates.

    Raises:
        ValueError: If a value is out of its range or of the wrong type.
    """

    space: str = "asvit"
    controller: str = "reinforce"
    proxies: tuple[str, ...] = ("length_distortion", "ntk_condition_number")
    steps: int = 500
    repeats: int = 5
    image_size: int = 224
    images: int = 16
    points: int = 10
    radius: Literal["sqrt_n", "unit"] | float = "sqrt_n"
    data: str = "fractal"
    seed: int = 0
    device: str = "auto"
    batch: int = 1

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        for name in ("space", "controller", "data", "device"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name} must be a name, got {value!r}")
        object.__setattr__(self, "proxies", _names(self.proxies))
        _check_radius(self.radius)
        if self.batch > 1 and self.controller != "reinforce":
            raise ValueError(
                f"batch={self.batch} needs controller 'reinforce'; "
                f"{self.controller!r} learns after every architecture, so use batch=1"
            )

    def to_json(self) -> dict[str, Any]:
        """The settings in the types of JSON."""
        return {**dataclasses.asdict(self), "proxies": list(self.proxies)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> SearchSettings:
        """Read settings back; a field that an older version did not know has its default.

        Raises:
            ValueError: If a field is unknown, as when a newer version wrote it.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(stored) - known)
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}; a newer asvit may have written it")
        return cls(**stored)

    def difference(self, other: SearchSettings) -> dict[str, tuple[Any, Any]]:
        """Fields in which ``other`` differs: name to (value here, value there)."""
        pairs = {
            field.name: (getattr(self, field.name), getattr(other, field.name))
            for field in dataclasses.fields(self)
        }
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def make_settings(preset: str = "default", **given: Any) -> SearchSettings:
    """Settings of a preset with some of them given anew.

    Raises:
        ValueError: If the preset is unknown or a value is not allowed.
        TypeError: If there is no such setting.
    """
    if preset not in PRESETS:
        raise ValueError(unknown("preset", preset, PRESETS))
    names = [field.name for field in dataclasses.fields(SearchSettings)]
    for name in given:
        if name not in names:
            raise TypeError(unknown("setting", name, names))
    return SearchSettings(**{**PRESETS[preset], **given})


def unknown(kind: str, name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """The message for a name that is not among those known: the nearest one, or all of them."""
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(known)}"
    return f"unknown {kind} {name!r}; {hint}"


def _names(proxies: object) -> tuple[str, ...]:
    names = (proxies,) if isinstance(proxies, str) else proxies
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"proxies must be names of measures, got {proxies!r}")
    if not names:
        raise ValueError("proxies must name at least one measure, got none")
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise ValueError(f"proxies names {doubled[0]!r} more than once")
    return tuple(names)


def _check_radius(radius: object) -> None:
    if isinstance(radius, str):
        allowed = radius in ("sqrt_n", "unit")
    else:
        allowed = isinstance(radius, int | float) and math.isfinite(radius) and radius > 0
    if not allowed or isinstance(radius, bool):
        raise ValueError(f"radius must be 'sqrt_n', 'unit' or a positive number, got {radius!r}")

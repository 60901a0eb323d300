"""What a search is asked to do: one frozen set of settings, kept with its results."""

from __future__ import annotations

from collections.abc import Mapping
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

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "quick": {"image_size": 64, "repeats": 2, "images": 8},
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

_ONE_BY_ONE = ("tpe", "nsga2")  # Optuna's own, which see whatever has been measured


@dataclass(frozen=True)
class SearchSettings(Settings):
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
        batch: Architectures drawn before the controller learns from any of them; as many can be
            measured at the same time.

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
        check_whole(self, _AT_LEAST)
        check_names(self, ("space", "controller", "data", "device"))
        object.__setattr__(self, "proxies", proxy_names(self.proxies))
        check_radius(self.radius)
        if self.batch > 1 and self.controller in _ONE_BY_ONE:
            raise ValueError(
                f"batch={self.batch} does not suit controller {self.controller!r}, which learns "
                "after every architecture; use batch=1 (repeats are still shared among workers)"
            )


def make_settings(preset: str = "default", **given: Any) -> SearchSettings:
    """Settings of a preset with some of them given anew.

    Raises:
        ValueError: If the preset is unknown or a value is not allowed.
        TypeError: If there is no such setting.
    """
    return from_preset(SearchSettings, PRESETS, preset, given)

"""What a scaling is asked to do: one frozen set of settings, kept with its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from asvit.settings import (
    Settings,
    check_names,
    check_radius,
    check_whole,
    from_preset,
    proxy_names,
)
from scaling.budget import Budget, parse_budgets

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "quick": {"image_size": 64, "repeats": 3, "images": 8},
}

_AT_LEAST = {
    "width_multiple": 1,
    "count_size": 1,
    "repeats": 1,
    "image_size": 1,
    "images": 2,
    "points": 3,
    "seed": 0,
}


@dataclass(frozen=True)
class ScaleSettings(Settings):
    """Settings of a scaling. Two runs with equal settings give the same series.

    Attributes:
        architecture: Text of the architecture to grow, whose depths and width are the start.
        budgets: Sizes to name the nearest model of, of one unit, in their canonical texts and
            from small to large; growth ends at the largest.
        stop_within: How near the end must come to the largest budget, as a share of it.
        ratio: Width at which a model is measured over its full width.
        width_multiple: Widths are rounded to multiples of this; 4 is the released code's rule.
        count_size: Side in pixels of the images that multiply-adds are counted for.
        proxies: Measures; those with a direction rank the candidates.
        repeats: Freshly initialised networks each value is averaged over.
        image_size: Side of the square images that are measured on, in pixels.
        images: Images in the kernel's batch.
        points: Points on the circle.
        radius: Radius of the circle: ``"sqrt_n"``, ``"unit"`` or a positive number.
        data: Where the images come from, as :func:`asvit.data.load_images` takes it.
        seed: Seed of every random draw.
        device: Where networks are measured: ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Raises:
        ValueError: If a value is out of its range or of the wrong type.
    """

    architecture: str
    budgets: tuple[str, ...] = ("88M",)
    stop_within: float = 0.02
    ratio: float = 0.25
    width_multiple: int = 1
    count_size: int = 224
    proxies: tuple[str, ...] = ("length_distortion", "ntk_condition_number")
    repeats: int = 5
    image_size: int = 224
    images: int = 16
    points: int = 10
    radius: Literal["sqrt_n", "unit"] | float = "sqrt_n"
    data: str = "fractal"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_whole(self, _AT_LEAST)
        check_names(self, ("architecture", "data", "device"))
        for name in ("stop_within", "ratio"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value!r}")
        object.__setattr__(self, "budgets", tuple(map(str, self.limits)))
        object.__setattr__(self, "proxies", proxy_names(self.proxies))
        check_radius(self.radius)

    @cached_property
    def limits(self) -> tuple[Budget, ...]:
        """The budgets, parsed once, from small to large."""
        return parse_budgets(self.budgets)


def make_settings(preset: str = "default", **given: Any) -> ScaleSettings:
    """Settings of a preset with some of them given anew; ``architecture`` must be.

    Raises:
        ValueError: If the preset is unknown or a value is not allowed.
        TypeError: If there is no such setting, or no architecture.
    """
    return from_preset(ScaleSettings, PRESETS, preset, given)

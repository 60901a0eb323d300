"""How fresh networks are measured: the settings of every kind of run that does so."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from asvit.core.console import quantity
from asvit.core.settings import (
    Presets,
    Settings,
    device_setting,
    presets_with,
    seed_setting,
    setting,
    settings_class,
)
from proxies.text import shown


def proxy_names(proxies: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several as a tuple."""
    names = (proxies,) if isinstance(proxies, str) else proxies
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"proxies must be names of measures, got {proxies!r}")
    if not names:
        raise ValueError("proxies must name at least one measure, got none")
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise ValueError(f"proxies names {doubled[0]!r} more than once")
    return tuple(names)


def check_radius(radius: Any) -> Any:
    """``radius``, if :meth:`proxies.Circle.random` takes it."""
    if isinstance(radius, str):
        allowed = radius in ("sqrt_n", "unit")
    else:
        allowed = isinstance(radius, int | float) and math.isfinite(radius) and radius > 0
    if not allowed or isinstance(radius, bool):
        raise ValueError(f"radius must be 'sqrt_n', 'unit' or a positive number, got {radius!r}")
    return radius


def parse_radius(text: str) -> str | float:
    """The radius that an option names."""
    if text in ("sqrt_n", "unit"):
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not sqrt_n, unit or a number") from None


@settings_class(kw_only=True)
class MeasuringSettings(Settings):
    """How fresh networks are measured."""

    presets: ClassVar[Presets] = presets_with(quick={"image_size": 64, "repeats": 2, "images": 8})

    image_size: int = setting(224, "Side of the square images, in pixels.", at_least=1)
    repeats: int = setting(
        5, "Freshly initialised networks each value is averaged over.", at_least=1
    )
    images: int = setting(16, "Images in the kernel's batch.", at_least=2)
    points: int = setting(10, "Points on the circle.", at_least=3)
    radius: Literal["sqrt_n", "unit"] | float = setting(
        "sqrt_n",
        "Radius of the circle: sqrt_n (the paper's), unit, or a number.",
        metavar="RADIUS",
        convert=check_radius,
        parse=parse_radius,
    )
    data: str = setting(
        "fractal",
        "fractal, gaussian, digits, a folder of class folders, TABLE.csv, wds:PATTERN, "
        "torchvision:NAME or hf:NAME.",
        metavar="DATA",
        complete="data",
    )
    seed: int = seed_setting()
    device: str = device_setting()

    def in_words(self, device: str | None = None) -> str:
        """How networks are about to be measured, for the title of a run.

        ``device`` says on what, by default on that of this machine.
        """
        from proxies.evaluation import resolve_device

        side: int | None = self.image_size  # settings of correlations may leave it to the rows
        return (
            f"{quantity(self.repeats, 'network')} each, "
            f"{f'{side} px' if side else 'each at its own size'}, "
            f"device {device or resolve_device(self.device)}, seed {self.seed}"
        )

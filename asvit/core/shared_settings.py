"""Settings that several kinds of runs share: how networks are measured, timed and fed."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final, Literal

from asvit.core.console import quantity
from asvit.core.programs import FILE, file_command
from asvit.core.settings import (
    DEVICE,
    SEED,
    Presets,
    Settings,
    presets_with,
    setting,
    settings_class,
)
from proxies.text import shown

# How fresh networks are measured.


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


def parse_radius(radius: Any) -> Any:
    """A radius as :meth:`proxies.Circle.random` takes it, also from a text."""
    if isinstance(radius, str) and radius in ("sqrt_n", "unit"):
        return radius
    if isinstance(radius, str | int | float) and not isinstance(radius, bool):
        with suppress(ValueError):
            number = float(radius)
            if math.isfinite(number) and number > 0:
                return number
    raise ValueError(f"radius must be 'sqrt_n', 'unit' or a positive number, got {shown(radius)}")


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
        convert=parse_radius,
        parse=parse_radius,
    )
    data: str = setting(
        "fractal",
        "fractal, gaussian, digits, a folder of class folders, TABLE.csv, wds:PATTERN, "
        "torchvision:NAME or hf:NAME.",
        metavar="DATA",
        complete="data",
    )
    seed: int = SEED
    device: str = DEVICE

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


# How the time of a forward pass is taken.

#: What may run a network on this machine.
RUNTIME_NAMES: Final = ("eager", "onnx")

#: How the latency is taken that is limited.
OF_LATENCY: Final = ("latency_batch", "latency_runtime", "latency_command")


def runtime_setting(**options: Any) -> Any:
    """The setting of what runs a pass."""
    help = "What runs that pass: eager (PyTorch) or onnx (ONNX Runtime)."
    return setting("eager", help, choices=RUNTIME_NAMES, **options)


def command_setting(**options: Any) -> Any:
    """The setting of a command that times networks on another device."""
    return setting(
        None,
        "Time passes on another device: a program that prints milliseconds for an ONNX file, "
        f"such as 'ssh pi ./bench {FILE}'.",
        metavar="COMMAND",
        convert=file_command,
        **options,
    )


def check_command(command: str | None, runtime: str) -> None:
    """Check that a command is not to use a runtime of this machine."""
    if command is not None and runtime != "eager":
        raise ValueError(
            f"latency_runtime={runtime} is for this machine, latency_command for another one; "
            "leave one of them out"
        )


def latency_values(settings: Any) -> Mapping[str, Any]:
    """How the latency is taken: names of settings to values."""
    return {name: getattr(settings, name) for name in OF_LATENCY}


def latency_choices(settings: Any) -> Mapping[str, Any]:
    """How the latency is taken, where that is not the default: names of settings to values."""
    values = latency_values(settings).items()
    return {name: value for name, value in values if value != getattr(type(settings), name)}


def pass_options(settings: Any) -> Mapping[str, Any]:
    """How a run has :func:`asvit.runs.timing.latency` time a pass."""
    named = {name.removeprefix("latency_"): getattr(settings, name) for name in OF_LATENCY}
    return {**named, "device": settings.device}


# How pictures are prepared, by all runs that train.

#: Ways to fit an image into a square, and what timm calls them.
FITS: Final = {"crop": "center", "pad": "border", "squash": "squash"}

#: Colours that transparent pictures are laid over, by Pillow's names; the first of equal ones is
#: taken.
GROUNDS: Final = ("white", "black", "grey")
BLACK: Final = "black"  # where nothing is known of the pictures
AUTO: Final = "auto"


#: The setting ``fit`` of runs that train.
FIT: Any = setting(
    "crop",
    "How oblong images become square: crop their ends off, pad them with the mean colour, or "
    "squash them.",
    choices=tuple(FITS),
)

#: The setting ``ground`` of runs that train.
GROUND: Any = setting(
    AUTO,
    "Colour under transparent pictures: white, black, grey, or auto, on which those to train "
    "on stand out.",
    choices=(AUTO, *GROUNDS),
)

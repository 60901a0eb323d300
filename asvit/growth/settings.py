"""What a scaling is asked to do: one frozen set of settings, kept with its results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

from asvit.core.settings import MeasuringSettings, Presets, proxy_names, setting
from proxies.registry import Registry
from scaling.budget import Budget, parse_budgets


def parse_share(text: str) -> float:
    """A share written as ``2%``, ``0.02`` or ``1/50``."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        share = float(Fraction(number.strip())) / (100 if percent else 1)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError(f"{text!r} is not a share such as 2%, 0.02 or 1/4") from None
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is not above 0 and at most 1")
    return share


def _texts(budgets: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(map(str, parse_budgets(budgets)))


@dataclass(frozen=True)
class ScaleSettings(MeasuringSettings):
    """Settings of a scaling. Two runs with equal settings give equal series."""

    presets: ClassVar[Presets] = Registry(
        "preset", {"default": {}, "quick": {"image_size": 64, "repeats": 3, "images": 8}}
    )

    architecture: str = setting(
        ...,
        "Architecture to start from, or the folder of a run that ended in one; its depths and "
        "width are the start.",
        name="arch",
        metavar="ARCH",
        shown="the result of the newest search in runs",
    )
    budgets: tuple[str, ...] = setting(
        ("88M",),
        "Where to end: parameters (88M) or multiply-adds (22G); or several, as 30M,50M,88M.",
        name="budget",
        metavar="BUDGET",
        convert=_texts,
        parse=str,
    )
    stop_within: float = setting(
        0.02,
        "How near the end must come to the largest budget.",
        metavar="SHARE",
        parse=parse_share,
        shown="2%",
        above=0,
        at_most=1,
    )
    ratio: float = setting(
        0.25,
        "Width to measure at over full width.",
        metavar="SHARE",
        parse=parse_share,
        above=0,
        at_most=1,
    )
    width_multiple: int = setting(
        1, "Round widths to multiples of N; 4 is what the released code does.", at_least=1
    )
    count_size: int = setting(
        224, "Side of the images that multiply-adds are counted for, in pixels.", at_least=1
    )
    classes: int = setting(
        1000,
        "Classes that sizes are counted with, as a training will build them.",
        shown="those of --data, else 1000",
        at_least=1,
    )
    proxies: tuple[str, ...] = setting(
        ("length_distortion", "ntk_condition_number"),
        "Measure that ranks candidates; repeat it or separate names by commas.",
        name="proxy",
        metavar="NAME",
        convert=proxy_names,
        complete="proxies:PROXIES",
    )

    @cached_property
    def limits(self) -> tuple[Budget, ...]:
        """The budgets, from small to large."""
        return parse_budgets(self.budgets)

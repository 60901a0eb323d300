"""Settings of a scaling."""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import ClassVar, Literal

from asvit.core.settings import Presets, presets_with, setting, settings_class
from asvit.core.shared_settings import (
    MeasuringSettings,
    check_command,
    command_setting,
    latency_choices,
    proxy_names,
    runtime_setting,
)
from asvit.measuring.latency import CAREFUL
from scaling import Budget, parse_budgets


def parse_share(text: str) -> float:
    """A share written as ``2%`` or ``0.02``."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{text!r} is not a share such as 2% or 0.02") from None
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is not above 0 and at most 1")
    return share


def _budgets(texts: str | float | Iterable[str | float]) -> tuple[str, ...]:
    return tuple(map(str, parse_budgets(texts)))


@settings_class
class ScaleSettings(MeasuringSettings):
    """Settings of a scaling. Two runs with equal settings give equal series."""

    presets: ClassVar[Presets] = presets_with(quick={"image_size": 64, "repeats": 3, "images": 8})

    architecture: str = setting(
        ...,
        "Architecture to start from, or the folder of a run that ended in one.",
        name="arch",
        metavar="ARCH",
        shown="the result of the newest search in runs",
    )
    budgets: tuple[str, ...] = setting(
        ("88M",),
        "Where to end: parameters (88M), multiply-adds (22G) or the time of a forward pass "
        "(12ms); or several, as 30M,50M,88M.",
        name="budget",
        metavar="BUDGET",
        convert=_budgets,
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
    width_multiple: int | None = setting(
        None,
        "Round new widths to multiples of N.",
        shown="1 over --ratio: widths that are measured apart",
        at_least=1,
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

    latency_batch: int = setting(
        1,
        "Images in the pass that a --budget of time is measured with, each of --count-size.",
        at_least=1,
    )
    latency_runtime: Literal["eager", "onnx"] = runtime_setting()
    latency_command: str | None = command_setting()

    def check(self) -> None:
        """Refuse what does not go together, and settings that nothing depends on."""
        check_command(self.latency_command, self.latency_runtime)
        for name in () if self.timed else latency_choices(self):
            raise ValueError(
                f"{name} is for times such as 12ms, not for a budget of {self.limits[0]}"
            )

    @cached_property
    def limits(self) -> tuple[Budget, ...]:
        """The budgets, from small to large."""
        return parse_budgets(self.budgets)

    @property
    def targets(self) -> tuple[Budget, ...]:
        """What growth ends at for each of the limits: a little less of a time, as times vary."""
        if not self.timed:
            return self.limits
        return tuple(
            replace(limit, amount=max(1, math.floor(CAREFUL * limit.amount)))
            for limit in self.limits
        )

    def extends(self, other: "ScaleSettings") -> bool:
        """Whether the budget is at least that of another scaling, in its unit."""
        mine, before = self.limits[-1], other.limits[-1]
        return mine.unit == before.unit and mine.amount >= before.amount

    @property
    def timed(self) -> bool:
        """Whether the budgets are times."""
        return self.limits[0].unit == "latency"

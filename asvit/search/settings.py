"""What a search is asked to do: one frozen set of settings, kept with its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from asvit.core.settings import MeasuringSettings, Presets, proxy_names, setting
from proxies.registry import Registry

_ONE_BY_ONE = ("tpe", "nsga2")  # Optuna's own, which see whatever has been measured


@dataclass(frozen=True)
class SearchSettings(MeasuringSettings):
    """Settings of a search. Two runs with equal settings measure the same architectures."""

    presets: ClassVar[Presets] = Registry(
        "preset", {"default": {}, "quick": {"image_size": 64, "repeats": 2, "images": 8}}
    )

    space: str = setting(
        "asvit",
        "Search space (see asvit list spaces).",
        metavar="NAME",
        complete="asvit.spaces:SPACES",
    )
    controller: str = setting(
        "reinforce",
        "What proposes architectures (see asvit list controllers).",
        metavar="NAME",
        complete="asvit.search:CONTROLLERS",
    )
    proxies: tuple[str, ...] = setting(
        ("length_distortion", "ntk_condition_number"),
        "Measure to use; repeat it or separate names by commas (see asvit list proxies). Those "
        "with a direction are the objectives, in this order.",
        name="proxy",
        metavar="NAME",
        convert=proxy_names,
        complete="proxies:PROXIES",
    )
    steps: int = setting(500, "Architectures to measure.", at_least=1)
    batch: int = setting(
        1,
        "Architectures drawn before the controller learns from any, and measured side by side.",
        at_least=1,
    )
    recheck: int = setting(
        8,
        "Fresh networks on which the finalists are measured again in the end: what the policy "
        "ends in, and the ten best by the sum of their ranks.",
        at_least=1,
    )
    pick: Literal["measured", "policy"] = setting(
        "measured",
        "Which finalist the search hands on: the best when measured again (measured), or the "
        "policy's likeliest architecture, as in the paper (policy; for a controller without a "
        "policy the best drawn).",
        choices=("measured", "policy"),
    )

    def check(self) -> None:
        """Check that the controller can learn from batches."""
        if self.batch > 1 and self.controller in _ONE_BY_ONE:
            raise ValueError(
                f"batch={self.batch} does not suit controller {self.controller!r}, which learns "
                "after every architecture; use batch=1 (repeats are still shared among workers)"
            )

"""What an As-ViT is made of beside its topology, as text and as a frozen dataclass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from proxies.text import shown

#: Part -> its choices, the published one first.
PART_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "stem": ("patch", "conv", "deep"),
    "head": ("mlp", "linear"),
    "mixing": ("none", "ffn"),
    "positions": ("none", "absolute"),
    "init": ("0.02", "width"),
}


@dataclass(frozen=True)
class Parts:
    """What an As-ViT is made of beside its topology; by default as published.

    Raises:
        ValueError: If a part is not one of its choices.
    """

    stem: str = "patch"
    head: str = "mlp"
    mixing: str = "none"
    positions: str = "none"
    init: str = "0.02"

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value not in PART_CHOICES[name]:
                listed = ", ".join(PART_CHOICES[name])
                raise ValueError(f"{name}={shown(value)} is not a part; use one of {listed}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``name=value,...``; parts that are left out are the published ones."""
        parts = {}
        for entry in text.split(","):
            name, _, value = (cell.strip() for cell in entry.partition("="))
            if name not in PART_CHOICES or name in parts:
                listed = ", ".join(PART_CHOICES)
                raise ValueError(f"{shown(entry)} names no part; use each of {listed} once")
            parts[name] = value
        return cls(**parts)

    def __str__(self) -> str:
        """The parts that are not the published ones; empty if there are none."""
        own = vars(self).items()
        return ",".join(f"{k}={v}" for k, v in own if v != PART_CHOICES[k][0])


PUBLISHED: Final = Parts()

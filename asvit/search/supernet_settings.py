"""What an evolution over a supernet is asked to do: one frozen set of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asvit.settings import Settings, check_whole, from_preset

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "quick": {
        "population": 20,
        "generations": 5,
        "keep": 5,
        "crossovers": 10,
        "mutations": 10,
        "random_paths": 20,
    },
}

_AT_LEAST = {
    "population": 1,
    "generations": 1,
    "keep": 1,
    "crossovers": 0,
    "mutations": 0,
    "min_macs": 0,
    "random_paths": 1,
    "seed": 0,
}


@dataclass(frozen=True)
class EvolutionSettings(Settings):
    """Settings of an evolution. Two runs with equal settings and weights give equal winners.

    The paper gives none of these numbers. The defaults are those of AutoFormer's published search;
    the limit of the multiply-adds is ours, after the models that the paper compares with.

    Attributes:
        population: Paths in a generation.
        generations: Generations, the random first one among them.
        keep: Best paths so far that children come from.
        crossovers: Children of two in a generation: each cell comes from either with 1/2.
        mutations: Children of one in a generation.
        mutation_probability: Probability with which a mutation draws a cell anew.
        min_macs: Fewest multiply-adds of one image that a path may take.
        max_macs: Most that it may take; None for those of the DeiT of the supernet's size.
        random_paths: Paths drawn as training draws them, of any size, to compare with.
        seed: Seed of every random draw.

    Raises:
        ValueError: If a value is out of its range or of the wrong type.

    References:
        Chen et al. 2021, "AutoFormer: Searching Transformers for Visual Recognition",
        arXiv:2107.00651.
    """

    population: int = 50
    generations: int = 20
    keep: int = 10
    crossovers: int = 25
    mutations: int = 25
    mutation_probability: float = 0.2
    min_macs: int = 0
    max_macs: int | None = None
    random_paths: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole(self, _AT_LEAST)
        if self.max_macs is not None:
            check_whole(self, {"max_macs": max(1, self.min_macs)})
        rate = self.mutation_probability
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate <= 1:
            raise ValueError(f"mutation_probability must be from 0 to 1, got {rate!r}")
        if self.crossovers + self.mutations > self.population:
            raise ValueError(
                f"{self.crossovers} crossovers and {self.mutations} mutations do not fit in a "
                f"population of {self.population}; use fewer, or a larger population"
            )


def make_settings(preset: str = "default", **given: Any) -> EvolutionSettings:
    """Settings of a preset with some of them given anew.

    Raises:
        ValueError: If the preset is unknown or a value is not allowed.
        TypeError: If there is no such setting.
    """
    return from_preset(EvolutionSettings, PRESETS, preset, given)

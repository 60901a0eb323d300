"""Settings of an evolution over the paths of a supernet."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from asvit.core.settings import Presets, Settings, presets_with, seed_setting, setting
from scaling.budget import parse_amount

_from_zero = partial(parse_amount, least=0)


@dataclass(frozen=True)
class EvolutionSettings(Settings):
    """Settings of an evolution. Two runs with equal settings and weights give equal winners.

    The paper gives none of these numbers. The defaults are those of AutoFormer's published search;
    the limit of the multiply-adds is ours, after the models that the paper compares with.

    References:
        Chen et al. 2021, "AutoFormer: Searching Transformers for Visual Recognition",
        arXiv:2107.00651.
    """

    presets: ClassVar[Presets] = presets_with(
        quick={
            "population": 20,
            "generations": 5,
            "keep": 5,
            "crossovers": 10,
            "mutations": 10,
            "random_paths": 20,
        }
    )

    population: int = setting(50, "Paths in a generation.", at_least=1)
    generations: int = setting(20, "Generations, the random first one included.", at_least=1)
    keep: int = setting(10, "Best paths so far that serve as parents.", at_least=1)
    crossovers: int = setting(
        25, "Crossovers in a generation: each cell comes from either parent.", at_least=0
    )
    mutations: int = setting(25, "Mutations in a generation.", at_least=0)
    mutation_probability: float = setting(
        0.2, "Probability that a mutation redraws a cell.", metavar="N", at_least=0, at_most=1
    )
    min_macs: int = setting(
        0,
        "Fewest multiply-adds of a path, as 20M or 1.3G.",
        metavar="N",
        convert=_from_zero,
        parse=_from_zero,
    )
    max_macs: int | None = setting(
        None,
        "Most multiply-adds of a path, likewise.",
        metavar="N",
        convert=parse_amount,
        parse=parse_amount,
        shown="those of the DeiT of its size",
    )
    random_paths: int = setting(50, "Random paths of any cost to compare with.", at_least=1)
    seed: int = seed_setting()

    def check(self) -> None:
        """Check that the limits leave a window, and that the children fit in a generation."""
        if self.max_macs is not None and self.max_macs < self.min_macs:
            raise ValueError(f"max_macs must be at least {self.min_macs}, got {self.max_macs}")
        if self.crossovers + self.mutations > self.population:
            raise ValueError(
                f"{self.crossovers} crossovers and {self.mutations} mutations do not fit in a "
                f"population of {self.population}; use fewer, or a larger population"
            )

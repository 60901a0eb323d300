"""Evolution over the paths of a supernet: which paths a generation holds, given all before it.

Nothing is evaluated here. What a generation holds follows from the seed and from what the
generations before it came to, so there is no state to keep: whoever has their fitness can go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from zlib import crc32

import numpy as np

#: The cells of every stage, one letter a cell.
Path = tuple[str, ...]
Origin = Literal["random", "crossover", "mutation"]

_TRIES = 10  # draws for each crossover and each mutation that is asked for, as published code has
_FILL_TRIES = 100_000  # random draws of a generation before it is left short


class Known(NamedTuple):
    """What is known of a path before it is evaluated.

    Attributes:
        architecture: Text of the network that it is; that of another path may be the same.
        macs: Multiply-adds of one image.
    """

    architecture: str
    macs: int


@dataclass(frozen=True)
class Proposal:
    """A path to be evaluated.

    Attributes:
        generation: Its generation, from 0.
        origin: How it came about.
        path: The cells of every stage.
        architecture: Text of the network that it is.
        macs: Multiply-adds of one image.
    """

    generation: int
    origin: Origin
    path: Path
    architecture: str
    macs: int


@dataclass(frozen=True)
class Candidate(Proposal):
    """A path that was evaluated.

    Attributes:
        fitness: Accuracy with inherited weights on the validation images, per cent.
    """

    fitness: float


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, best first: by fitness, then fewer multiply-adds, then their texts."""
    return sorted(candidates, key=lambda one: (-one.fitness, one.macs, one.architecture))


@dataclass(frozen=True)
class Evolution:
    """What a generation of an evolution holds.

    The first generation is random. Every later one holds children of the best ``keep`` of all
    candidates so far: crossovers take each cell from either of two of them, mutations draw each
    cell anew with probability ``mutation_probability`` (among all its choices), and random paths
    fill it up. No two candidates of a run are the same network. The paper leaves all numbers
    open; the defaults are those of AutoFormer's published search.

    Attributes:
        shape: Any path: all have as many stages and cells as it.
        letters: What a cell can be, one letter each.
        look: What is known of a path; None where it is no network or not allowed.
        seed: Seed of the run.
        population: Paths in a generation.
        keep: Candidates that children come from.
        crossovers: Children of two in a generation, as far as there are new ones.
        mutations: Children of one, likewise.
        mutation_probability: Of each cell.

    References:
        Guo et al. 2020, "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
        arXiv:1904.00420.
        Chen et al. 2021, "AutoFormer: Searching Transformers for Visual Recognition",
        arXiv:2107.00651.
    """

    shape: Path
    letters: str
    look: Callable[[Path], Known | None]
    seed: int
    population: int = 50
    keep: int = 10
    crossovers: int = 25
    mutations: int = 25
    mutation_probability: float = 0.2

    def propose(self, generation: int, before: Sequence[Candidate]) -> list[Proposal]:
        """The paths of a generation.

        Args:
            generation: Which one, from 0.
            before: Every candidate of the generations before it, in order.

        Returns:
            At most ``population`` paths; fewer, or none, where hardly any are new and allowed.
        """
        entropy = [self.seed, crc32(b"supernet evolution"), generation]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        made = _Generation(self, generation, {one.architecture for one in before})
        parents = [one.path for one in ranked(before)[: self.keep]]
        if parents:
            crossed = (self._crossed(parents, rng) for _ in range(_TRIES * self.crossovers))
            mutated = (self._mutated(parents, rng) for _ in range(_TRIES * self.mutations))
            made.take(crossed, "crossover", self.crossovers)
            made.take(mutated, "mutation", self.mutations)
        drawn = (self.draw(rng) for _ in range(_FILL_TRIES))
        made.take(drawn, "random", self.population - len(made.proposals))
        return made.proposals

    def draw(self, rng: np.random.Generator) -> Path:
        """A path with each cell drawn uniformly; it need not be allowed."""
        return tuple(
            "".join(self.letters[at] for at in rng.integers(len(self.letters), size=len(stage)))
            for stage in self.shape
        )

    def _crossed(self, parents: Sequence[Path], rng: np.random.Generator) -> Path:
        places = rng.choice(len(parents), size=2, replace=len(parents) < 2)
        first, second = (parents[int(place)] for place in places)
        return _mixed(first, second, 0.5, rng)

    def _mutated(self, parents: Sequence[Path], rng: np.random.Generator) -> Path:
        parent = parents[int(rng.integers(len(parents)))]
        return _mixed(parent, self.draw(rng), self.mutation_probability, rng)


def _mixed(path: Path, other: Path, share: float, rng: np.random.Generator) -> Path:
    """``path`` with each cell that of ``other`` with probability ``share``."""
    return tuple(
        "".join(
            b if of_other else a
            for a, b, of_other in zip(mine, theirs, rng.random(len(mine)) < share, strict=True)
        )
        for mine, theirs in zip(path, other, strict=True)
    )


class _Generation:
    """The paths of one generation as they are found: allowed ones, each network once."""

    def __init__(self, evolution: Evolution, number: int, seen: set[str]) -> None:
        self.proposals: list[Proposal] = []
        self._evolution = evolution
        self._number = number
        self._seen = seen

    def take(self, paths: Iterator[Path], origin: Origin, count: int) -> None:
        """Take up to ``count`` new ones of ``paths``."""
        while count > 0 and (path := next(paths, None)) is not None:
            known = self._evolution.look(path)
            if known is not None and known.architecture not in self._seen:
                self._seen.add(known.architecture)
                self.proposals.append(Proposal(self._number, origin, path, *known))
                count -= 1

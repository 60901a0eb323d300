"""The paths of a supernet: their networks, costs and accuracies, and the evolution over them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from zlib import crc32

import numpy as np
import torch
from optuna.study import Study
from optuna.trial import FrozenTrial

from asvit.architectures.psvit_path import (
    BASIC,
    CELL_LAYERS,
    CELLS,
    IDENTITY,
    STAGES,
    PSViTPath,
    canonical,
    layers_of,
)
from asvit.models.psvit_supernet import PSViTSupernet
from asvit.search.evolution import VALIDATION, Cells, EvolutionSettings, PathRow
from asvit.search.objective import EvaluateAll
from asvit.search.rows import Measurement
from asvit.search.sampler import (
    NothingNewError,
    Params,
    SpaceSampler,
    measured_trials,
    trials_before,
)
from asvit.spaces import SPACES
from asvit.spaces.architectures import cost
from asvit.spaces.own import PSViTSpace
from asvit.training.short import LabelledTensors, accuracy
from asvit.training.short_settings import SupernetSettings
from proxies.counts import Cost
from proxies.evaluation import seed_for

_ORIGIN = "origin"  # user attribute of a trial: how its path was made
_TRIES = 10  # draws for each crossover and each mutation that is asked for, as published code has
_FILL_TRIES = 100_000  # random draws of a generation before it is left short

# The stage whose tokens are those of a DeiT, from 0, by how tokens become fewer.
_DEIT_STAGE = {"1d": 0, "2d": 1}
_DEIT_PATCH = 16
_DEIT_LAYERS = 12


class SupernetSpace:
    """The space of a supernet at its width and image size."""

    def __init__(self, settings: SupernetSettings) -> None:
        space = SPACES.get(settings.space)
        if not isinstance(space, PSViTSpace):
            names = [name for name, space in SPACES.items() if isinstance(space, PSViTSpace)]
            raise ValueError(
                f"space {settings.space!r} has no supernet; use one of {', '.join(names)}"
            )
        self.space = space
        self._width, self._image_size = settings.width, settings.image_size
        self._like = self._alone(BASIC, BASIC, BASIC)
        space.check(self._like, settings.image_size)

    def build(self, num_classes: int, *, seed: int) -> PSViTSupernet:
        """A freshly initialised supernet, the same for the same seed on every device."""
        with torch.random.fork_rng([]):
            torch.manual_seed(seed_for(seed, "supernet"))
            return PSViTSupernet(
                self._like.stage_widths,
                self._like.heads,
                pooling=self.space.architecture.pooling,
                img_size=self._image_size,
                num_classes=num_classes,
            )

    def draw(self, rng: np.random.Generator) -> Cells:
        """A path with each cell drawn uniformly, but for those without any layer."""
        return self.space.sample(rng).cells

    def architecture(self, path: Cells) -> PSViTPath:
        """What ``path`` is alone; the same for paths that differ only in where identities are."""
        return self._alone(*canonical(path))

    def count(self, num_classes: int, *stages: str) -> Cost:
        """Parameters and multiply-adds of a path alone, counted; cells left out are identities."""
        return cost(self._alone(*stages), self._image_size, num_classes)

    def deit_macs(self, num_classes: int) -> int:
        """Multiply-adds of the DeiT of this supernet's size, on an image of its size.

        It has twelve layers and patches of 16 px, and is as wide as that stage of ours which has
        as many tokens: at 224 px and the space's own width this is DeiT-Tiny. The paper compares
        with DeiT; how to carry that to other sizes is our choice.
        """
        width = self._like.stage_widths[_DEIT_STAGE[self.space.architecture.pooling]]
        patches = (-(-self._image_size // _DEIT_PATCH)) ** 2
        tokens = patches + 1
        layer = 12 * tokens * width**2 + 2 * tokens**2 * width
        embedding = 3 * _DEIT_PATCH**2 * width * patches
        return embedding + _DEIT_LAYERS * layer + width * num_classes

    def _alone(self, *stages: str) -> PSViTPath:
        first, second, third = (stage.ljust(CELLS, IDENTITY) for stage in stages)
        return self.space.architecture((first, second, third), (), self._width)


class PathCosts:
    """Costs of all paths, alone, from those of a few: a cell costs the same on every path."""

    def __init__(self, space: SupernetSpace, num_classes: int) -> None:
        def counted(stage: int, cells: str) -> Cost:
            return space.count(num_classes, *(cells if i == stage else "" for i in range(STAGES)))

        # One basic layer: what leads there, and the norm and head of a last stage.
        least = [counted(stage, BASIC) for stage in range(STAGES)]
        self._cells = [
            {cell: _less(counted(stage, BASIC + cell), base) for cell in CELL_LAYERS}
            for stage, base in enumerate(least)
        ]
        self._around = [
            _less(base, of[BASIC]) for base, of in zip(least, self._cells, strict=True)
        ]
        self.least = min(least, key=lambda cost: cost.macs)  # of the cheapest path

    def __call__(self, path: Cells) -> Cost:
        """Parameters and multiply-adds of one image; the path must have a layer."""
        last = max(i for i, stage in enumerate(path) if layers_of(stage))
        cells = (of[cell] for of, stage in zip(self._cells, path, strict=True) for cell in stage)
        return sum(cells, self._around[last])


def _less(cost: Cost, part: Cost) -> Cost:
    return Cost(cost.params - part.params, cost.macs - part.macs)


def path_accuracies(
    supernet: PSViTSupernet, costs: PathCosts, parts: Mapping[str, LabelledTensors]
) -> EvaluateAll:
    """What evaluates paths with the weights of a supernet: accuracies in per cent.

    A path is an architecture with ``cells``, on the validation images, or a pair of cells and the
    name of the images.
    """

    def evaluate(paths: Sequence[Any], _seeds: Sequence[int]) -> Iterator[Measurement]:
        for path in paths:
            cells, part = path if isinstance(path, tuple) else (path.cells, VALIDATION)
            size = costs(cells)
            reached = accuracy(supernet.on(cells), *parts[part])
            yield Measurement(size.params, size.macs, {part: reached}, {})

    return evaluate


def ranked(rows: Sequence[PathRow]) -> list[PathRow]:
    """The paths, best first: by accuracy, then fewer multiply-adds, then their texts."""
    return sorted(rows, key=lambda row: (-row.validation, row.macs, row.architecture))


def _mixed(path: Cells, other: Cells, share: float, rng: np.random.Generator) -> Cells:
    """``path`` with each cell that of ``other`` with probability ``share``."""
    return tuple(
        "".join(
            b if of_other else a
            for a, b, of_other in zip(mine, theirs, rng.random(len(mine)) < share, strict=True)
        )
        for mine, theirs in zip(path, other, strict=True)
    )


class PathSampler(SpaceSampler):
    """An evolution over the paths of a supernet below a limit of multiply-adds.

    Without a limit it is that of the DeiT of the supernet's size; ``settings`` has the number.
    The first generation is random. Every later one holds children of the best ``keep`` of all
    paths so far: crossovers take each cell from either of two of them, mutations draw each cell
    anew with probability ``mutation_probability`` (among all its choices), and random paths fill
    it up. No two paths of a run are the same network; where hardly any are new and allowed, the
    search ends.

    References:
        Guo et al. 2020, "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
        arXiv:1904.00420.
        Chen et al. 2021, "AutoFormer: Searching Transformers for Visual Recognition",
        arXiv:2107.00651.
    """

    shape = (IDENTITY * CELLS,) * STAGES
    letters = "".join(CELL_LAYERS)

    def __init__(
        self, supernet: SupernetSpace, num_classes: int, settings: EvolutionSettings
    ) -> None:
        super().__init__(supernet.space.dimensions, {VALIDATION: "higher"}, cast("Any", settings))
        self.supernet = supernet
        self.costs = PathCosts(supernet, num_classes)
        self.deit_macs = supernet.deit_macs(num_classes)
        self._most = self.deit_macs if settings.max_macs is None else settings.max_macs
        self.settings = replace(settings, max_macs=self._most)
        self._proposed: tuple[int, Sequence[PathRow]] = -1, ()  # of a generation
        if self._most < (least := self.costs.least.macs):
            raise ValueError(
                f"no path takes at most {self._most:,} multiply-adds; those of this supernet take "
                f"{least:,} and more"
            )

    def sample(self, study: Study, trial: FrozenTrial) -> Params:
        """The next path of its generation."""
        generation, place = divmod(len(trials_before(study, trial)), self.settings.population)
        if self._proposed[0] != generation:
            before = measured_trials(study)[: generation * self.settings.population]
            self._proposed = generation, self.propose(generation + 1, self.rows(before))
        if place >= len(self._proposed[1]):
            raise NothingNewError
        row = self._proposed[1][place]
        self.notes[trial.number] = {_ORIGIN: row.origin}
        return dict(zip(self.dimensions, "".join(row.cells), strict=True))

    def rows(self, trials: Sequence[FrozenTrial]) -> list[PathRow]:
        """The paths of evaluated trials, all from the first on."""
        rows = []
        for number, trial in enumerate(trials):
            letters = "".join(trial.params[name] for name in self.dimensions)
            path = tuple(letters[i * CELLS :][:CELLS] for i in range(STAGES))
            text, macs = str(self.supernet.architecture(path)), self.costs(path).macs
            generation = 1 + number // self.settings.population
            origin, accuracy = trial.user_attrs[_ORIGIN], trial.values[0]
            rows.append(PathRow(number, generation, origin, text, "|".join(path), macs, accuracy))
        return rows

    def look(self, path: Cells) -> tuple[str, int] | None:
        """Text and multiply-adds of the network that ``path`` is, which may be another's, too.

        None where it has no layer or is not allowed.
        """
        if not any(map(layers_of, path)):
            return None
        macs = self.costs(path).macs
        return (str(self.supernet.architecture(path)), macs) if macs <= self._most else None

    def propose(self, generation: int, before: Sequence[PathRow]) -> list[PathRow]:
        """The paths of a generation, from 1, given those of all before it in their order.

        There are at most ``population``; fewer, or none, where hardly any are new and allowed.
        """
        settings = self.settings
        entropy = [settings.seed, crc32(b"supernet evolution"), generation - 1]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        texts = {row.architecture for row in before}
        rows: list[PathRow] = []

        def add(paths: Iterator[Cells], origin: str, count: int) -> None:
            """Take up to ``count`` new ones that are allowed, each network once."""
            while count > 0 and (path := next(paths, None)) is not None:
                network = self.look(path)
                if network is not None and network[0] not in texts:
                    texts.add(network[0])
                    number = len(before) + len(rows)
                    text, macs = network
                    rows.append(PathRow(number, generation, origin, text, "|".join(path), macs))
                    count -= 1

        parents = [row.cells for row in ranked(before)[: settings.keep]]
        if parents:
            crossed = (self._crossed(parents, rng) for _ in range(_TRIES * settings.crossovers))
            mutated = (self._mutated(parents, rng) for _ in range(_TRIES * settings.mutations))
            add(crossed, "crossover", settings.crossovers)
            add(mutated, "mutation", settings.mutations)
        fresh = (self.draw(rng) for _ in range(_FILL_TRIES))
        add(fresh, "random", settings.population - len(rows))
        return rows

    def draw(self, rng: np.random.Generator) -> Cells:
        """A path with each cell drawn uniformly; it need not be allowed."""
        return tuple(
            "".join(self.letters[at] for at in rng.integers(len(self.letters), size=len(stage)))
            for stage in self.shape
        )

    def _crossed(self, parents: Sequence[Cells], rng: np.random.Generator) -> Cells:
        places = rng.choice(len(parents), size=2, replace=len(parents) < 2)
        first, second = (parents[int(place)] for place in places)
        return _mixed(first, second, 0.5, rng)

    def _mutated(self, parents: Sequence[Cells], rng: np.random.Generator) -> Cells:
        parent = parents[int(rng.integers(len(parents)))]
        return _mixed(parent, self.draw(rng), self.settings.mutation_probability, rng)

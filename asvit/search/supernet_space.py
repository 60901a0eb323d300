"""The paths of a supernet: as networks alone, what they cost, and which an evolution may take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from asvit.models.psvit_supernet import PSViTSupernet
from asvit.psvit_path import (
    BASIC,
    CELL_LAYERS,
    CELLS,
    IDENTITY,
    SHARED,
    STAGES,
    PSViTPath,
    canonical,
    layers_of,
)
from asvit.search.supernet_evolution import Evolution, Known, Path
from asvit.search.supernet_settings import EvolutionSettings
from asvit.spaces import SPACES
from asvit.spaces.architectures import build_on_meta
from asvit.spaces.psvit import PSViTSpace
from asvit.training.short import LabelledTensors, accuracy
from asvit.training.supernets.settings import SupernetSettings
from proxies.counts import Cost, count
from proxies.evaluation import seed_for

# The stage whose tokens are those of a DeiT, from 0, by how tokens become fewer.
_DEIT_STAGE = {"1d": 0, "2d": 1}
_DEIT_PATCH = 16
_DEIT_LAYERS = 12


class SupernetSpace:
    """The space of a supernet at its width and image size.

    Args:
        settings: Settings of the supernet.

    Attributes:
        letters: What a cell can be, one letter each.
        shape: A path: all have as many stages and cells.

    Raises:
        ValueError: If the space has no supernet, or width or image size do not suit it.
    """

    letters = "".join(CELL_LAYERS)
    shape: Path = (IDENTITY * CELLS,) * STAGES

    def __init__(self, settings: SupernetSettings) -> None:
        space = SPACES.get(settings.space)
        if not isinstance(space, PSViTSpace):
            known = [name for name, one in SPACES.items() if isinstance(one, PSViTSpace)]
            raise ValueError(
                f"space {settings.space!r} has no supernet; use one of {', '.join(known)}"
            )
        self._space = space
        self._width = settings.width
        self._image_size = settings.image_size
        space.check(self._alone(BASIC, BASIC, BASIC), settings.image_size)

    def build(self, num_classes: int, *, seed: int) -> PSViTSupernet:
        """A freshly initialised supernet, the same for the same seed on every device."""
        like = self._alone(BASIC, BASIC, BASIC)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed_for(seed, "supernet"))
            return PSViTSupernet(
                like.stage_widths,
                like.heads,
                pooling=self._space.pooling,
                img_size=self._image_size,
                num_classes=num_classes,
            )

    def draw(self, rng: np.random.Generator) -> Path:
        """A path with each cell drawn uniformly, but for those without any layer."""
        return self._space.sample(rng).cells

    def architecture(self, path: Path) -> PSViTPath:
        """What ``path`` is alone; the same for paths that differ only in where identities are."""
        return self._alone(*canonical(path))

    def accuracy(self, supernet: PSViTSupernet, path: Path, images: LabelledTensors) -> float:
        """Accuracy of ``path`` with the weights of the supernet, per cent."""
        return accuracy(supernet.on(path), *images)

    def count(self, num_classes: int, *stages: str) -> Cost:
        """Parameters and multiply-adds of a path alone, counted; cells left out are identities."""
        text = str(self._alone(*stages))
        size = self._image_size
        return count(build_on_meta(text, image_size=size, num_classes=num_classes), size)

    def deit_macs(self, num_classes: int) -> int:
        """Multiply-adds of the DeiT of this supernet's size, on an image of its size.

        It has twelve layers and patches of 16 px, and is as wide as that stage of ours which has
        as many tokens: at 224 px and the space's own width this is DeiT-Tiny. The paper compares
        with DeiT; how to carry that to other sizes is our choice.
        """
        stage = _DEIT_STAGE[self._space.pooling]
        width = self._alone(BASIC, BASIC, BASIC).stage_widths[stage]
        patches = (-(-self._image_size // _DEIT_PATCH)) ** 2
        tokens = patches + 1
        layer = 12 * tokens * width**2 + 2 * tokens**2 * width
        embedding = 3 * _DEIT_PATCH**2 * width * patches
        return embedding + _DEIT_LAYERS * layer + width * num_classes

    def _alone(self, *stages: str) -> PSViTPath:
        first, second, third = (stage.ljust(CELLS, IDENTITY) for stage in stages)
        return self._space.architecture((first, second, third), (), self._width)


class AllowedPaths:
    """The paths of a supernet that an evolution may take: those in its window of multiply-adds.

    Args:
        space: The space.
        num_classes: Classes of the images.
        settings: Settings of the evolution.

    Attributes:
        space: The space.
        settings: The same, with the limit of the multiply-adds as a number.
        costs: Cost of every path.
        deit_macs: Multiply-adds of the DeiT of the supernet's size.

    Raises:
        ValueError: If the window holds no path.
    """

    def __init__(
        self, space: SupernetSpace, num_classes: int, settings: EvolutionSettings
    ) -> None:
        self.space = space
        self.costs = PathCosts(space, num_classes)
        self.deit_macs = space.deit_macs(num_classes)
        self._most = self.deit_macs if settings.max_macs is None else settings.max_macs
        self.settings = replace(settings, max_macs=self._most)
        low, high = self.costs.least.macs, self.costs.most.macs
        if self._most < low or settings.min_macs > high:
            raise ValueError(
                f"no path takes {settings.min_macs:,} to {self._most:,} multiply-adds; those of "
                f"this supernet take {low:,} to {high:,}"
            )

    def look(self, path: Path) -> Known | None:
        """What is known of ``path`` beforehand; None where it is not allowed or has no layer."""
        if not any(map(layers_of, path)):
            return None
        macs = self.costs(path).macs
        if not self.settings.min_macs <= macs <= self._most:
            return None
        return Known(str(self.space.architecture(path)), macs)

    def evolution(self) -> Evolution:
        """The evolution over these paths."""
        s = self.settings
        return Evolution(
            shape=self.space.shape,
            letters=self.space.letters,
            look=self.look,
            seed=s.seed,
            population=s.population,
            keep=s.keep,
            crossovers=s.crossovers,
            mutations=s.mutations,
            mutation_probability=s.mutation_probability,
        )


class PathCosts:
    """Costs of all paths, alone, from those of a few: a cell costs the same on every path.

    Args:
        space: The space.
        num_classes: Classes.

    Attributes:
        least: Cost of the path with the fewest multiply-adds.
        most: Cost of the largest path.
    """

    def __init__(self, space: SupernetSpace, num_classes: int) -> None:
        def counted(stage: int, cells: str) -> Cost:
            return space.count(num_classes, *(cells if i == stage else "" for i in range(STAGES)))

        # One basic layer: what leads there, and the norm and head of a last stage.
        least = [counted(stage, BASIC) for stage in range(STAGES)]
        self._cells = [
            {cell: _less(counted(stage, BASIC + cell), one) for cell in CELL_LAYERS}
            for stage, one in enumerate(least)
        ]
        self._around = [
            _less(one, cells[BASIC]) for one, cells in zip(least, self._cells, strict=True)
        ]

        self.least = min(least, key=lambda cost: cost.macs)
        self.most = self(tuple(SHARED * CELLS for _ in range(STAGES)))

    def __call__(self, path: Path) -> Cost:
        """Parameters and multiply-adds of one image.

        Raises:
            ValueError: If ``path`` has no layer.
        """
        filled = [i for i, stage in enumerate(path) if layers_of(stage)]
        if not filled:
            raise ValueError(f"path {'|'.join(path)!r} has no layer; use at least one 'b' or 's'")
        cells = (of[cell] for of, stage in zip(self._cells, path, strict=True) for cell in stage)
        return sum(cells, self._around[filled[-1]])


def _less(cost: Cost, part: Cost) -> Cost:
    return Cost(cost.params - part.params, cost.macs - part.macs)

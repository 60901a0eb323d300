"""What the paths of a supernet cost, and which of them an evolution may take."""

from __future__ import annotations

from dataclasses import replace

from asvit.psvit_path import BASIC, CELL_LAYERS, CELLS, SHARED, STAGES, layers_of
from asvit.runs.supernets.host import Host
from asvit.search.supernet_evolution import Evolution, Known, Path
from asvit.search.supernet_settings import EvolutionSettings
from proxies.counts import Cost


class AllowedPaths:
    """The paths of a supernet that an evolution may take: those in its window of multiply-adds.

    Args:
        host: The space.
        num_classes: Classes of the images.
        settings: Settings of the evolution.

    Attributes:
        settings: The same, with the limit of the multiply-adds as a number.
        costs: Cost of every path.
        deit_macs: Multiply-adds of the DeiT of the supernet's size.

    Raises:
        ValueError: If the window holds no path.
    """

    def __init__(self, host: Host, num_classes: int, settings: EvolutionSettings) -> None:
        self._host = host
        self.costs = PathCosts(host, num_classes)
        self.deit_macs = host.deit_macs(num_classes)
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
        return Known(str(self._host.architecture(path)), macs)

    def evolution(self) -> Evolution:
        """The evolution over these paths."""
        s = self.settings
        return Evolution(
            shape=self._host.shape,
            letters=self._host.letters,
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
        host: The space.
        num_classes: Classes.

    Attributes:
        least: Cost of the path with the fewest multiply-adds.
        most: Cost of the largest path.
    """

    def __init__(self, host: Host, num_classes: int) -> None:
        def counted(stage: int, cells: str) -> Cost:
            return host.count(num_classes, *(cells if i == stage else "" for i in range(STAGES)))

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

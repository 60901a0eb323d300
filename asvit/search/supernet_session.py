"""The evaluation of a supernet's paths in an evolution, and the training of its winner."""

import shlex
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from asvit.core.console import percent
from asvit.core.files import write_text
from asvit.core.progress import Progress, Tell
from asvit.core.run_files import INHERITED, RETRAINED, RETRAINING, TRIALS
from asvit.data import MEAN, STD
from asvit.networks import Network, WeightsFile, load_state
from asvit.search.supernet_result import (
    AccuracyJournal,
    Cells,
    EvolutionResult,
    Part,
    PathRow,
    RandomPaths,
    Retrained,
    Winner,
    generations_of,
    write_paths,
)
from asvit.search.supernet_space import AllowedPaths, ranked
from asvit.training.supernets.file import SupernetFile
from asvit.training.supernets.retraining import train_alone
from asvit.training.supernets.settings import PathAccuracies
from asvit.training.supernets.splits import Splits
from proxies.evaluation import seed_for


@dataclass
class EvolutionSession:
    """One session of an evolution: evaluates the paths that no earlier one has, and sums up."""

    folder: Path
    trained: SupernetFile
    allowed: AllowedPaths
    journal: AccuracyJournal  # the accuracies that are known, and where new ones go
    parts: Splits  # on the device to evaluate on
    tell: Tell  # after each path, and after each step of training the winner
    rows: list[PathRow] = field(default_factory=list)  # that were evaluated

    def __post_init__(self) -> None:
        self._origin = self.trained.origin
        self._supernet = self.allowed.space.build(self._origin.num_classes, seed=0)
        load_state(self._supernet, self.trained.weights, what="the weights of the supernet")
        self._supernet.to(self.parts.train[0].device)

    def evolve(self) -> None:
        """Go through all generations, or up to one without anything new."""
        settings = self.allowed.settings
        known, began = 0, time.monotonic()
        for generation in range(1, settings.generations + 1):
            for row in self.allowed.propose(generation, self.rows):
                fresh = self.journal.get("validation", row.cells) is None
                accuracy = self._accuracy("validation", row.cells)
                self.rows.append(replace(row, validation=accuracy))
                known += not fresh
                if fresh:
                    best = self._best
                    self.tell(
                        Progress(
                            "path",
                            len(self.rows),
                            settings.population * settings.generations,
                            resumed=known,
                            seconds=time.monotonic() - began,
                            state=f"generation {generation}  best {best.architecture} "
                            f"({percent(best.validation)})",
                            record=self.rows[-1],
                        )
                    )
            write_text(self.folder / TRIALS, write_paths(self.rows))
        if not self.rows:
            raise ValueError(
                f"no random path was found that takes {settings.min_macs:,} to "
                f"{settings.max_macs:,} multiply-adds; allow more with --max-macs"
            )

    def retrain(self) -> None:
        """Train the winner from scratch, and keep its weights and the outcome.

        Training is saved as it goes on, so that a kill costs an epoch at most, and of a long one
        a minute.
        """
        winner = self._best.architecture
        trained = train_alone(
            winner,
            self._origin.settings,
            self.parts,
            state=self.folder / RETRAINING,
            progress=self.tell,
        )
        accuracy = None if trained.reason else trained.accuracy
        last = trained.losses[-self._origin.settings.steps_per_epoch :]
        self._write(RETRAINED, trained.model, test=accuracy)
        self.journal.add_retrained(
            Retrained(
                architecture=winner,
                accuracy=accuracy,
                loss=None if trained.reason else statistics.fmean(last),
                seconds=round(trained.seconds, 3),
                reason=trained.reason,
            )
        )

    def result(self, provenance: Mapping[str, Any]) -> EvolutionResult:
        """The result, when all generations are through."""
        settings, space, best = self.allowed.settings, self.allowed.space, self._best
        first = [row.cells for row in self.rows if row.generation == 1]
        generations = generations_of(self.rows)
        rng = np.random.default_rng(seed_for(settings.seed, "random paths"))
        anywhere = [space.draw(rng) for _ in range(settings.random_paths)]
        winner = Winner(
            architecture=best.architecture,
            path=best.path,
            params=self.allowed.costs(best.cells).params,
            macs=best.macs,
            validation=best.validation,
            test=self._accuracy("test", best.cells),
        )
        self._write(INHERITED, self._supernet.extract(best.cells), test=winner.test)
        retrained, short = self.journal.retrained, len(generations) < settings.generations
        cost = shlex.join(["asvit", "cost", best.architecture])
        return EvolutionResult(
            folder=self.folder,
            space=self._origin.settings.space,
            winner=winner,
            generations=generations,
            in_window=self._summary(first),
            anywhere=self._summary(anywhere),
            deit_macs=self.allowed.deit_macs,
            evaluated=len(self.rows),
            reason="no new path was found any more" if short else "",
            retrained=retrained,
            wall_seconds=self.journal.seconds,
            settings=settings,
            provenance=provenance,
            next_command=cost if retrained else f"{provenance['command']} --retrain",
        )

    @property
    def _best(self) -> PathRow:
        return ranked(self.rows)[0]

    def _accuracy(self, part: Part, path: Cells) -> float:
        """Accuracy of ``path`` with inherited weights, per cent; measured once, and kept."""
        known = self.journal.get(part, path)
        if known is None:
            images = self.parts.validation if part == "validation" else self.parts.test
            known = self.allowed.space.accuracy(self._supernet, path, images)
            self.journal.add(part, path, known)
        return known

    def _summary(self, paths: Sequence[Cells]) -> RandomPaths:
        validation = PathAccuracies.of([self._accuracy("validation", path) for path in paths])
        test = PathAccuracies.of([self._accuracy("test", path) for path in paths])
        return RandomPaths(validation, test)

    def _write(self, name: str, model: nn.Module, *, test: float | None) -> None:
        best, origin = self._best, self._origin
        network = Network(best.architecture, origin.settings.image_size, origin.num_classes)
        facts = {
            "mean": MEAN,
            "std": STD,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "images": origin.images["source"],
            "top1": test,
            "found_by": {"kind": EvolutionResult.kind, "path": best.path},
        }
        WeightsFile(network, model.state_dict(), facts=facts).write(self.folder / name)

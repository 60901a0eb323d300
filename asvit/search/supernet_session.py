"""The evaluation of a supernet's paths in an evolution, and the training of its winner."""

from __future__ import annotations

import shlex
import statistics
import time
from collections.abc import Mapping, Sequence
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
from asvit.search.supernet_evolution import Candidate, ranked
from asvit.search.supernet_evolution import Path as Cells
from asvit.search.supernet_journal import AccuracyJournal, Part, Retrained
from asvit.search.supernet_result import (
    EvolutionResult,
    PathRow,
    RandomPaths,
    Winner,
    generations_of,
    write_paths,
)
from asvit.search.supernet_space import AllowedPaths
from asvit.training.supernets.file import SupernetFile
from asvit.training.supernets.result import PathAccuracies
from asvit.training.supernets.retraining import train_alone
from asvit.training.supernets.splits import Splits
from proxies.evaluation import seed_for


class EvolutionSession:
    """One session of an evolution: evaluates the paths that no earlier one has, and sums up.

    Args:
        folder: Run folder of the evolution.
        trained: The supernet.
        allowed: The paths within the limits.
        journal: The accuracies that are known, and where new ones go.
        parts: The images, on the device to evaluate on.
        tell: Called after each path, and after each step of training the winner.
    """

    def __init__(
        self,
        folder: Path,
        trained: SupernetFile,
        allowed: AllowedPaths,
        journal: AccuracyJournal,
        parts: Splits,
        tell: Tell,
    ) -> None:
        self._folder = folder
        self._origin = trained.origin
        self._allowed = allowed
        self._journal = journal
        self._parts = parts
        self._tell = tell
        self._candidates: list[Candidate] = []
        self._supernet = allowed.space.build(trained.origin.num_classes, seed=0)
        load_state(self._supernet, trained.weights, what="the weights of the supernet")
        self._supernet.to(parts.train[0].device)

    def evolve(self) -> None:
        """Go through all generations, or up to one without anything new.

        Raises:
            ValueError: If the first one is empty.
        """
        settings, evolution = self._allowed.settings, self._allowed.evolution()
        known, began = 0, time.monotonic()
        for generation in range(settings.generations):
            for one in evolution.propose(generation, self._candidates):
                fresh = self._journal.get("validation", one.path) is None
                fitness = self._accuracy("validation", one.path)
                self._candidates.append(Candidate(**vars(one), fitness=fitness))
                known += not fresh
                if fresh:
                    best = self._best
                    self._tell(
                        Progress(
                            "path",
                            len(self._candidates),
                            settings.population * settings.generations,
                            resumed=known,
                            seconds=time.monotonic() - began,
                            state=f"generation {generation + 1}  best {best.architecture} "
                            f"({percent(best.fitness)})",
                            record=self._candidates[-1],
                        )
                    )
            rows = [PathRow.of(number, one) for number, one in enumerate(self._candidates)]
            write_text(self._folder / TRIALS, write_paths(rows))
        if not self._candidates:
            raise ValueError(
                f"no random path was found that takes {settings.min_macs:,} to "
                f"{settings.max_macs:,} multiply-adds; allow more with --max-macs"
            )

    def retrain(self) -> None:
        """Train the winner from scratch, and keep its weights and the outcome.

        Training is saved as it goes on, so that a kill costs an epoch at most, and of a long one
        a minute.
        """
        trained = train_alone(
            self._best.architecture,
            self._origin.settings,
            self._parts,
            state=self._folder / RETRAINING,
            progress=self._tell,
        )
        accuracy = None if trained.reason else trained.accuracy
        last = trained.losses[-self._origin.settings.steps_per_epoch :]
        self._write(RETRAINED, trained.model, test=accuracy)
        self._journal.add_retrained(
            Retrained(
                architecture=self._best.architecture,
                accuracy=accuracy,
                loss=None if trained.reason else statistics.fmean(last),
                seconds=round(trained.seconds, 3),
                reason=trained.reason,
            )
        )

    def result(self, provenance: Mapping[str, Any]) -> EvolutionResult:
        """The result, when all generations are through."""
        settings, space, best = self._allowed.settings, self._allowed.space, self._best
        first = [one.path for one in self._candidates if one.generation == 0]
        generations = generations_of(self._candidates)
        rng = np.random.default_rng(seed_for(settings.seed, "random paths"))
        anywhere = [space.draw(rng) for _ in range(settings.random_paths)]
        winner = Winner(
            architecture=best.architecture,
            path="|".join(best.path),
            params=self._allowed.costs(best.path).params,
            macs=best.macs,
            validation=best.fitness,
            test=self._accuracy("test", best.path),
        )
        self._write(INHERITED, self._supernet.extract(best.path), test=winner.test)
        retrained, short = self._journal.retrained, len(generations) < settings.generations
        cost = shlex.join(["asvit", "cost", best.architecture])
        return EvolutionResult(
            folder=self._folder,
            space=self._origin.settings.space,
            winner=winner,
            generations=generations,
            in_window=self._summary(first),
            anywhere=self._summary(anywhere),
            deit_macs=self._allowed.deit_macs,
            evaluated=len(self._candidates),
            reason="no new path was found any more" if short else "",
            retrained=retrained,
            wall_seconds=self._journal.seconds,
            settings=settings,
            provenance=provenance,
            next_command=cost if retrained else f"{provenance['command']} --retrain",
        )

    @property
    def _best(self) -> Candidate:
        return ranked(self._candidates)[0]

    def _accuracy(self, part: Part, path: Cells) -> float:
        """Accuracy of ``path`` with inherited weights, per cent; measured once, and kept."""
        known = self._journal.get(part, path)
        if known is not None:
            return known
        parts = self._parts
        images = parts.validation if part == "validation" else parts.test
        accuracy = self._allowed.space.accuracy(self._supernet, path, images)
        self._journal.add(part, path, accuracy)
        return accuracy

    def _summary(self, paths: Sequence[Cells]) -> RandomPaths:
        validation = PathAccuracies.of([self._accuracy("validation", path) for path in paths])
        return RandomPaths(
            validation, PathAccuracies.of([self._accuracy("test", path) for path in paths])
        )

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
            "found_by": {"kind": EvolutionResult.kind, "path": "|".join(best.path)},
        }
        WeightsFile(network, model.state_dict(), facts=facts).write(self._folder / name)

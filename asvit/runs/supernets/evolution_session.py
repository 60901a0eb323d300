"""One session of an evolution: evaluates the paths that no earlier one has, and sums up."""

from __future__ import annotations

import shlex
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from asvit._files import write_text
from asvit._run_files import INHERITED, RETRAINED, RETRAINING, TRIALS
from asvit.data import MEAN, STD
from asvit.networks import Network, WeightsFile, load_state
from asvit.runs.supernets.evolution_result import (
    Compared,
    EvolutionResult,
    Winner,
    candidates_csv,
    generations_of,
)
from asvit.runs.supernets.host import Host
from asvit.runs.supernets.paths import AllowedPaths
from asvit.runs.supernets.result import Spread
from asvit.runs.supernets.retraining import train_alone
from asvit.search.supernet_evolution import Candidate, ranked
from asvit.search.supernet_evolution import Path as Cells
from asvit.search.supernet_journal import KIND, Journal, Part
from asvit.training.supernets.file import SupernetFile
from asvit.training.supernets.single_path import SupernetEvent
from asvit.training.supernets.splits import Splits
from proxies.evaluation import seed_for


@dataclass(frozen=True)
class EvolutionEvent:
    """A path that was evaluated.

    Attributes:
        generation: Its generation, from 1.
        generations: Generations of the evolution.
        done: Paths evaluated, of all sessions.
        total: Paths that the generations hold, if all are full.
        resumed: Those that earlier sessions evaluated.
        seconds: Since this session began to evaluate.
        best: Best candidate so far.
    """

    generation: int
    generations: int
    done: int
    total: int
    resumed: int
    seconds: float
    best: Candidate


class Session:
    """One session of an evolution, from what earlier ones have left to its end.

    Args:
        folder: Run folder of the evolution.
        trained: The supernet.
        host: Its space.
        paths: The paths that are allowed.
        journal: The accuracies that are known, and where new ones go.
        parts: The images, on the device to evaluate on.
    """

    def __init__(
        self,
        folder: Path,
        trained: SupernetFile,
        host: Host,
        paths: AllowedPaths,
        journal: Journal,
        parts: Splits,
    ) -> None:
        self._folder = folder
        self._origin = trained.origin
        self._host = host
        self._paths = paths
        self._journal = journal
        self._parts = parts
        self._candidates: list[Candidate] = []
        self._supernet = host.build(trained.origin.num_classes, seed=0)
        load_state(self._supernet, trained.weights, what="the weights of the supernet")
        self._supernet.to(parts.train[0].device)

    def evolve(self, progress: Callable[[EvolutionEvent], None] | None) -> None:
        """Go through all generations, or up to one without anything new.

        Raises:
            ValueError: If the first one is empty.
        """
        settings, evolution = self._paths.settings, self._paths.evolution()
        known, began = 0, time.monotonic()
        for generation in range(settings.generations):
            for one in evolution.propose(generation, self._candidates):
                fresh = self._journal.get("validation", one.path) is None
                fitness = self._accuracy("validation", one.path)
                self._candidates.append(Candidate(**vars(one), fitness=fitness))
                known += not fresh
                if fresh and progress is not None:
                    progress(
                        EvolutionEvent(
                            generation=generation + 1,
                            generations=settings.generations,
                            done=len(self._candidates),
                            total=settings.population * settings.generations,
                            resumed=known,
                            seconds=time.monotonic() - began,
                            best=self._best,
                        )
                    )
            write_text(self._folder / TRIALS, candidates_csv(self._candidates))
        if not self._candidates:
            raise ValueError(
                f"no random path was found that takes {settings.min_macs:,} to "
                f"{settings.max_macs:,} multiply-adds; allow more with --max-macs"
            )

    def retrain(self, progress: Callable[[SupernetEvent], None] | None) -> None:
        """Train the winner from scratch, and keep its weights and what it came to.

        How far it is is on the disk as it goes on, so that a kill costs an epoch at most, and of
        a long one a minute.
        """
        state = self._folder / RETRAINING
        trained = train_alone(
            self._best.architecture,
            self._origin.settings,
            self._parts,
            state=state,
            progress=progress,
        )
        accuracy = None if trained.reason else trained.accuracy
        last = trained.losses[-self._origin.settings.steps_per_epoch :]
        self._write(RETRAINED, trained.model, test=accuracy)
        self._journal.add_retrained(
            {
                "architecture": self._best.architecture,
                "accuracy": accuracy,
                "loss": None if trained.reason else statistics.fmean(last),
                "seconds": round(trained.seconds, 3),
                "reason": trained.reason,
            }
        )

    def result(self, provenance: Mapping[str, Any]) -> EvolutionResult:
        """The result, when all generations are through."""
        settings, best = self._paths.settings, self._best
        first = [one.path for one in self._candidates if one.generation == 0]
        generations = generations_of(self._candidates)
        rng = np.random.default_rng(seed_for(settings.seed, "random paths"))
        anywhere = [self._host.draw(rng) for _ in range(settings.random_paths)]
        winner = Winner(
            architecture=best.architecture,
            path="|".join(best.path),
            params=self._paths.costs(best.path).params,
            macs=best.macs,
            validation=best.fitness,
            test=self._accuracy("test", best.path),
        )
        self._write(INHERITED, self._supernet.extract(best.path), test=winner.test)
        short = len(generations) < settings.generations
        return EvolutionResult(
            folder=self._folder,
            space=self._origin.settings.space,
            winner=winner,
            generations=generations,
            in_window=self._compared(first),
            anywhere=self._compared(anywhere),
            deit_macs=self._paths.deit_macs,
            evaluated=len(self._candidates),
            reason="no new path was found any more" if short else "",
            retrained=self._journal.retrained,
            wall_seconds=self._journal.seconds,
            settings=settings,
            provenance=provenance,
            next_command=self._next(provenance["command"]),
        )

    @property
    def _best(self) -> Candidate:
        return ranked(self._candidates)[0]

    def _accuracy(self, part: Part, path: Cells) -> float:
        """Accuracy of ``path`` with inherited weights, per cent; taken once, and kept."""
        known = self._journal.get(part, path)
        if known is not None:
            return known
        images = self._parts.validation if part == "validation" else self._parts.test
        accuracy = self._host.accuracy(self._supernet, path, images)
        self._journal.add(part, path, accuracy)
        return accuracy

    def _compared(self, paths: Sequence[Cells]) -> Compared:
        validation, test = (
            Spread.of([self._accuracy(part, path) for path in paths]) for part in _PARTS
        )
        return Compared(validation, test)

    def _next(self, command: str) -> str:
        if self._journal.retrained is None:
            return f"{command} --retrain"
        return shlex.join(["asvit", "cost", self._best.architecture])

    def _write(self, name: str, model: nn.Module, *, test: float | None) -> None:
        settings, best = self._origin.settings, self._best
        network = Network(best.architecture, settings.image_size, self._origin.num_classes)
        facts = {
            "mean": MEAN,
            "std": STD,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "images": self._origin.images["source"],
            "top1": test,
            "found_by": {"kind": KIND, "path": "|".join(best.path)},
        }
        WeightsFile(network, model.state_dict(), facts=facts).write(self._folder / name)


_PARTS: tuple[Part, Part] = ("validation", "test")

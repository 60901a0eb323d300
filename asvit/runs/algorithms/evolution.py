"""The algorithm of evolutions over the paths of a supernet."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from asvit.core.console import percent
from asvit.core.continuing import check_same_digest, check_same_images
from asvit.core.files import write_text
from asvit.core.progress import Progress, Tell, image_progress
from asvit.core.run_files import INHERITED, TRIALS
from asvit.core.tensor_files import is_whole, tensors_digest
from asvit.data import MEAN, STD, open_training_sets
from asvit.data.sources import are_fractals
from asvit.models.psvit_supernet import PSViTSupernet
from asvit.networks import Network, WeightsFile, load_state
from asvit.runs.evolution import EvolutionRun
from asvit.runs.folder import newest_run
from asvit.search.supernet_result import (
    Accuracy,
    AccuracyJournal,
    Cells,
    EvolutionResult,
    Part,
    PathRow,
    RandomPaths,
    Winner,
    first_generation,
    generations_of,
    write_paths,
)
from asvit.search.supernet_space import AllowedPaths, SupernetSpace, ranked
from asvit.training.checkpoint import Checkpoint
from asvit.training.short_settings import SupernetSettings
from asvit.training.supernet import Splits, load_splits, read_finished
from asvit.training.supernet_result import PathAccuracies
from proxies.evaluation import resolve_device, seed_for

_PARTS: Sequence[Part] = ("validation", "test")


@dataclass(kw_only=True)
class EvolutionAlgorithm(EvolutionRun):
    """Proposes paths by evolution, and evaluates them with the weights of the supernet."""

    journal_type = AccuracyJournal

    @classmethod
    def make(cls, preset: str = "default", **values: Any) -> Self:
        """As the base does; without a supernet, with the newest finished one."""
        run = super().make(preset, **values)
        if run.supernet:
            return run
        supernet = newest_run("supernet")
        return replace(run, supernet=supernet, implied={"supernet": supernet})

    def resolved(self) -> Self:
        """With the limit of multiply-adds that follows from the supernet, unless one was given."""
        if self.settings.max_macs is not None:
            return self
        origin = self.trained.origin
        most = SupernetSpace(origin.settings).deit_macs(len(origin.classes))
        if self.settings.min_macs > most:
            raise ValueError(
                f"min_macs={self.settings.min_macs:,} is more than the {most:,} multiply-adds of "
                "the DeiT of this size, the limit unless another is given; give max_macs, too"
            )
        return self.with_settings(replace(self.settings, max_macs=most), "trained")

    @cached_property
    def trained(self) -> Checkpoint:
        """The supernet, which must be finished."""
        return read_finished(self.source)

    @cached_property
    def allowed(self) -> AllowedPaths:
        """The paths within the limits."""
        origin = self.trained.origin
        return AllowedPaths(SupernetSpace(origin.settings), len(origin.classes), self.settings)

    @cached_property
    def where(self) -> torch.device:
        """The device to evaluate on."""
        return resolve_device(self.device)

    @cached_property
    def parts(self) -> Splits:
        """The images that the supernet was trained on, which must not have changed."""
        origin = self.trained.origin
        parts = load_splits(origin.settings, progress=image_progress(self.progress))
        check_same_images(self.source, origin.images, parts.provenance)
        return parts.to(self.where)

    @cached_property
    def network(self) -> PSViTSupernet:
        """The supernet with its weights, on the device to evaluate on."""
        supernet = self.allowed.space.build(len(self.trained.origin.classes), seed=0)
        load_state(supernet, self.trained.state.weights, what="the weights of the supernet")
        return supernet.to(self.where)

    def check(self) -> None:
        """Read the supernet, and find the device."""
        _ = self.allowed, self.where

    def load(self) -> Mapping[str, Any]:
        """The supernet and the kind of device, with the images."""
        _ = self.parts
        return {"supernet": self._origin, "device": self.where.type}

    def open(self) -> AccuracyJournal:
        """The journal of the accuracies, which must be of the same supernet."""
        store: AccuracyJournal = super().open()
        what, stored = "on another supernet", store.start_values.get("supernet")
        check_same_digest(self.folder, what, "folder", stored, self._origin)
        return store

    def settled(self, store: AccuracyJournal, result: EvolutionResult) -> bool:
        """Whether all paths are evaluated, and their table and the winner's weights written."""
        written = (self.folder / TRIALS).exists() and is_whole(self.folder / INHERITED)
        return super().settled(store, result) and written

    def execute(self, store: AccuracyJournal, tell: Tell) -> EvolutionResult:
        """Evolve, and store the winner with its inherited weights."""
        settings, space = self.settings, self.allowed.space
        rows = self._evolve(store, tell)
        best = ranked(rows)[0]
        winner = Winner(
            architecture=best.architecture,
            path=best.path,
            params=self.allowed.costs(best.cells).params,
            macs=best.macs,
            validation=best.validation,
            test=self._accuracy(store, "test", best.cells),
        )
        self._write_weights(winner)
        generations = generations_of(rows)
        short = rows[-1].generation < settings.generations
        rng = np.random.default_rng(seed_for(settings.seed, "random paths"))
        random = [space.draw(rng) for _ in range(settings.random_paths)]
        first = [row.cells for row in first_generation(rows)]
        self._evaluate(store, [*first, *random], tell)
        origin = self.trained.origin
        return self.result(
            store,
            {"supernet": self._origin, "images": origin.images, "device": self.where.type},
            space=origin.settings.space,
            winner=winner,
            generations=generations,
            in_window=self._random(store, first),
            anywhere=self._random(store, random),
            deit_macs=self.allowed.deit_macs,
            evaluated=len(rows),
            reason="no new path was found any more" if short else "",
            wall_seconds=store.seconds,
            next_command=training_command(self.folder, self.trained.origin.settings),
        )

    def _evolve(self, store: AccuracyJournal, tell: Tell) -> Sequence[PathRow]:
        """The paths of all generations, or of those up to one without anything new."""
        settings, rows = self.settings, list[PathRow]()
        known, start = 0, time.monotonic()
        for generation in range(1, settings.generations + 1):
            for row in self.allowed.propose(generation, rows):
                fresh = store.get("validation", row.cells) is None
                accuracy = self._accuracy(store, "validation", row.cells)
                rows.append(replace(row, validation=accuracy))
                known += not fresh
                if fresh:
                    best = ranked(rows)[0]
                    tell(
                        Progress(
                            "path",
                            len(rows),
                            settings.population * settings.generations,
                            resumed=known,
                            seconds=time.monotonic() - start,
                            state=f"generation {generation}  best {best.architecture} "
                            f"({percent(best.validation)})",
                            after=2.0 * settings.random_paths + settings.population,
                            record=rows[-1],
                        )
                    )
            write_text(self.folder / TRIALS, write_paths(rows))
        if not rows:
            raise ValueError(
                f"no random path was found that takes {settings.min_macs:,} to "
                f"{settings.max_macs:,} multiply-adds; allow more with --max-macs"
            )
        return rows

    def _accuracy(self, store: AccuracyJournal, part: Part, path: Cells) -> float:
        """Accuracy of ``path`` with inherited weights, per cent; measured once."""
        accuracy = store.get(part, path)
        if accuracy is None:
            accuracy = self.allowed.space.accuracy(self.network, path, getattr(self.parts, part))
            store.add_record(Accuracy(part, path, accuracy))
        return accuracy

    def _evaluate(self, store: AccuracyJournal, paths: Sequence[Cells], tell: Tell) -> None:
        """Evaluate those of the paths on both parts that are not yet."""
        distinct, start = dict.fromkeys(paths), time.monotonic()
        due = [p for p in distinct if any(store.get(part, p) is None for part in _PARTS)]
        known = len(distinct) - len(due)
        for done, path in enumerate(due, known + 1):
            for part in _PARTS:
                self._accuracy(store, part, path)
            seconds = time.monotonic() - start
            tell(Progress("random path", done, len(distinct), resumed=known, seconds=seconds))

    def _random(self, store: AccuracyJournal, paths: Sequence[Cells]) -> RandomPaths:
        """What random paths reach."""
        accuracies = ([self._accuracy(store, part, path) for path in paths] for part in _PARTS)
        return RandomPaths(*map(PathAccuracies.of, accuracies))

    def _write_weights(self, winner: Winner) -> None:
        origin = self.trained.origin
        network = Network(winner.architecture, origin.settings.image_size, len(origin.classes))
        facts = {
            "mean": MEAN,
            "std": STD,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "images": origin.images["source"],
            "top1": winner.test,
            "found_by": {"kind": EvolutionResult.kind, "path": winner.path},
        }
        model = self.network.extract(tuple(winner.path.split("|")))
        file = WeightsFile(network, model.state_dict(), self.parts.names, facts)
        file.write(self.folder / INHERITED)

    @cached_property
    def _origin(self) -> dict[str, str]:
        return {"folder": str(self.source), "digest": tensors_digest(self.trained.state.weights)}


def training_command(folder: Path, s: SupernetSettings) -> str:
    """What trains the winner in ``folder`` from scratch as long as the supernet.

    It takes as many images, or fewer where a training holds more of them out.
    """
    options = {"train_images": s.train_images, "image_size": s.image_size, "epochs": s.epochs}
    options |= {"batch_size": s.batch_size, "seed": s.seed}
    if s.data == "fractal":
        options["classes"] = s.classes
    elif not are_fractals(s.data):
        with suppress(ValueError):  # images that cannot be divided: the training says why
            sets = open_training_sets(s.data, image_size=s.image_size, seed=s.seed, quiet=True)
            options["train_images"] = min(s.train_images, len(sets.train))
    words = ["asvit", "train", str(folder), "--recipe", "small", "--data", s.data]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)

"""The algorithm of evolutions over the paths of a supernet."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch

from asvit.core.continuing import check_same_digest, check_same_images
from asvit.core.files import write_text
from asvit.core.progress import Tell, image_progress
from asvit.core.run_files import INHERITED, JOURNAL, TRIALS
from asvit.core.tensor_files import is_whole, tensors_digest
from asvit.data import MEAN, STD, open_training_sets
from asvit.data.sources import are_fractals
from asvit.models.psvit_supernet import PSViTSupernet
from asvit.networks import Network, WeightsFile, load_state
from asvit.runs.evolution import EvolutionRun
from asvit.runs.folder import newest_run
from asvit.search.evolution import (
    TEST,
    VALIDATION,
    EvolutionResult,
    EvolutionSettings,
    PathRow,
    first_generation,
    generations_of,
    write_paths,
)
from asvit.search.loop import Search
from asvit.search.objective import Objective
from asvit.search.paths import PathSampler, SupernetSpace, path_accuracies, ranked
from asvit.search.sampler import measured_trials
from asvit.search.study import StudyStore, open_study, quiet_optuna, stored
from asvit.training.checkpoint import Checkpoint
from asvit.training.short_settings import SupernetSettings
from asvit.training.supernet import Splits, load_splits, read_finished
from asvit.training.supernet_result import PathAccuracies
from proxies.evaluation import resolve_device

EvolutionStore = StudyStore[EvolutionSettings]

_BESIDE = "accuracies on the test images"  # attribute of the study


@dataclass(kw_only=True)
class EvolutionAlgorithm(EvolutionRun):
    """Proposes paths by evolution, and evaluates them with the weights of the supernet."""

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
        return self.with_settings(replace(self.settings, max_macs=most), "trained")

    @cached_property
    def trained(self) -> Checkpoint:
        """The supernet, which must be finished."""
        return read_finished(self.source)

    @cached_property
    def sampler(self) -> PathSampler:
        """What proposes paths within the limits."""
        origin = self.trained.origin
        return PathSampler(SupernetSpace(origin.settings), len(origin.classes), self.settings)

    @cached_property
    def where(self) -> torch.device:
        """The device to evaluate on."""
        return resolve_device(self.device)

    @cached_property
    def parts(self) -> Splits:
        """The images that the supernet was trained on, which must not have changed."""
        origin = self.trained.origin
        parts = load_splits(origin.settings, self.where, image_progress(self.progress))
        check_same_images(self.source, origin.images, parts.provenance)
        return parts

    @cached_property
    def network(self) -> PSViTSupernet:
        """The supernet with its weights, on the device to evaluate on."""
        supernet = self.sampler.supernet.build(len(self.trained.origin.classes), seed=0)
        load_state(supernet, self.trained.state.weights, what="the weights of the supernet")
        return supernet.to(self.where)

    def check(self) -> None:
        """Read the supernet, and find the device."""
        _ = self.sampler, self.where

    def load(self) -> Mapping[str, Any]:
        """The supernet and the kind of device, with the images."""
        _ = self.parts
        return {"supernet": self._origin, "device": self.where.type}

    def open(self) -> EvolutionStore:
        """The study, which must be of the same supernet."""
        study = open_study(self.folder / JOURNAL, {VALIDATION: "higher"})
        store = StudyStore(study, EvolutionSettings.from_json)
        what, stored = "on another supernet", store.start_values.get("supernet")
        check_same_digest(self.folder, what, "folder", stored, self._origin)
        return store

    def session(self) -> AbstractContextManager[None]:
        """Keep Optuna quiet."""
        return quiet_optuna()

    def settled(self, store: EvolutionStore, result: EvolutionResult) -> bool:
        """Whether all paths are evaluated, and their table and the winner's weights written."""
        written = (self.folder / TRIALS).exists() and is_whole(self.folder / INHERITED)
        return super().settled(store, result) and written

    def execute(self, store: EvolutionStore, tell: Tell) -> EvolutionResult:
        """Evolve, and store the winner with its inherited weights."""
        s, sampler, origin = self.settings, self.sampler, self.trained.origin
        parts = {part: getattr(self.parts, part) for part in (VALIDATION, TEST)}
        evaluate = path_accuracies(self.network, sampler.costs, parts)
        search = Search(
            store.study,
            sampler.supernet.space,
            Objective(evaluate, {VALIDATION: "higher"}, unit="path"),
            sampler,
            trials=s.population * s.generations,
            batch=s.population,
            after=1.0 + s.population,
        )
        for progress in search.run():
            if progress.done % s.population == 0:
                self._save(search)
            tell(progress)
        rows = self._save(search)
        if not rows:
            raise ValueError(
                f"no random path was found that takes at most {s.max_macs:,} multiply-adds; allow "
                "more with --max-macs"
            )
        best, first = ranked(rows)[0], first_generation(rows)
        wanted = {row.path: ((row.cells, TEST), 0) for row in (best, *first)}
        for progress in search.beside(_BESIDE, wanted, evaluate):
            tell(replace(progress, unit="accuracy"))
        tested = {path: one.values[TEST] for path, one in stored(store.study, _BESIDE).items()}
        self._write_weights(best, tested[best.path])
        return self.result(
            store,
            {"supernet": self._origin, "images": origin.images, "device": self.where.type},
            space=origin.settings.space,
            architecture=best.architecture,
            path=best.path,
            params=sampler.costs(best.cells).params,
            macs=best.macs,
            validation=best.validation,
            test=tested[best.path],
            generations=generations_of(rows),
            random={
                VALIDATION: PathAccuracies.of([row.validation for row in first]),
                TEST: PathAccuracies.of([tested[row.path] for row in first]),
            },
            evaluated=len(rows),
            reason="no new path was found any more" if search.exhausted else "",
            wall_seconds=search.seconds,
            next_command=training_command(self.folder, origin.settings),
        )

    def _save(self, search: Search) -> Sequence[PathRow]:
        """Write trials.csv."""
        rows = self.sampler.rows(measured_trials(search.study))
        write_text(self.folder / TRIALS, write_paths(rows))
        return rows

    def _write_weights(self, winner: PathRow, top1: float) -> None:
        origin = self.trained.origin
        network = Network(winner.architecture, origin.settings.image_size, len(origin.classes))
        facts = {
            "mean": MEAN,
            "std": STD,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "images": origin.images["source"],
            "top1": top1,
            "found_by": {"kind": EvolutionResult.kind, "path": winner.path},
        }
        model = self.network.extract(winner.cells)
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

"""The algorithm of trainings of supernets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch

from asvit.core.progress import Tell, image_progress
from asvit.core.run_files import SUPERNET_WEIGHTS
from asvit.core.versions import versions
from asvit.models.psvit_supernet import PSViTSupernet
from asvit.runs.supernet import SupernetRun
from asvit.search.paths import SupernetSpace
from asvit.training.checkpoint import Origin, Saved
from asvit.training.distributed import ProcessGroup
from asvit.training.session import Session
from asvit.training.short import accuracy
from asvit.training.supernet import (
    SUPERNET,
    SinglePath,
    Splits,
    load_splits,
    supernet_recipe,
)
from asvit.training.supernet_result import PathAccuracies, SupernetResult, evolve_command
from proxies.evaluation import resolve_device, seed_for

CHECKPOINT_MINUTES = 1.0  # longest time between two checkpoints within an epoch
EVALUATED_PATHS = 20  # random ones, whose accuracies tell how far training has come


class SupernetAlgorithm(SupernetRun):
    """Trains the paths of a supernet, drawn at random, and evaluates a few."""

    @cached_property
    def space(self) -> SupernetSpace:
        """The space of the supernet."""
        return SupernetSpace(self.settings)

    @cached_property
    def where(self) -> torch.device:
        """The device to train on."""
        return resolve_device(self.device)

    @cached_property
    def parts(self) -> Splits:
        """The images."""
        return load_splits(self.settings, self.where, image_progress(self.progress))

    def check(self) -> None:
        """Find the space and the device."""
        _ = self.space, self.where

    def load(self) -> Mapping[str, Any]:
        """Images and the kind of device."""
        return {"images": self.parts.provenance, "device": self.where.type}

    def open(self) -> Saved:
        """The weights so far."""
        return Saved.at(self.folder / SUPERNET_WEIGHTS, **SUPERNET)

    def settled(self, store: Saved, result: SupernetResult) -> bool:
        """Whether all epochs are done."""
        return store.finished and super().settled(store, result)

    def execute(self, store: Saved, tell: Tell) -> SupernetResult:
        """Train to the end, with checkpoints at the end of every epoch, and within long ones."""
        stored, s, parts, space = store.file, self.settings, self.parts, self.space
        then = versions() if stored is None else stored.origin.versions
        origin = Origin(s, parts.provenance, parts.names, self.where.type, (), then)
        supernet = space.build(parts.classes, seed=s.seed)
        session = Session(
            folder=self.folder,
            task=SinglePath(
                supernet, parts.train, supernet_recipe(s), draw=space.draw, seed=s.seed
            ),
            origin=origin,
            processes=ProcessGroup(self.where),
            stored=stored,
            file=SUPERNET_WEIGHTS,
            kind=SUPERNET["kind"],
            checkpoint_minutes=CHECKPOINT_MINUTES,
        )
        session.run(tell)
        return self.result(
            store,
            {"images": origin.images, "device": origin.device},
            losses=[round(row.loss, 6) for row in session.history],
            num_classes=parts.classes,
            accuracy=self._random_paths(supernet),
            params=sum(p.numel() for p in supernet.parameters()),
            wall_seconds=session.seconds,
            next_command=evolve_command(self.folder),
        )

    def _random_paths(self, supernet: PSViTSupernet) -> PathAccuracies:
        """Accuracies of random paths on the validation images."""
        space, images = self.space, self.parts.validation
        rng = np.random.default_rng(seed_for(self.settings.seed, "looked at"))
        paths = (space.draw(rng) for _ in range(EVALUATED_PATHS))
        return PathAccuracies.of([accuracy(supernet.on(path), *images) for path in paths])

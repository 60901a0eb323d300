"""The algorithm of trainings of supernets."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch

from asvit.core.files import write_text
from asvit.core.progress import Tell, Track, image_progress
from asvit.core.run_files import LOSSES, SUPERNET_WEIGHTS
from asvit.core.versions import versions
from asvit.models.psvit_supernet import PSViTSupernet
from asvit.runs.supernet import SupernetRun
from asvit.runs.tracking import tracking
from asvit.search.supernet_space import SupernetSpace
from asvit.training.checkpoint import Saved, check_finite, read_or_restore
from asvit.training.step_log import StepLog
from asvit.training.supernets.file import Origin, SupernetFile
from asvit.training.supernets.settings import (
    LossRow,
    PathAccuracies,
    SupernetResult,
    evolve_command,
)
from asvit.training.supernets.single_path import SupernetTraining
from asvit.training.supernets.splits import Splits, load_splits
from proxies.evaluation import resolve_device, seed_for

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
        return load_splits(self.settings, progress=image_progress(self.progress)).to(self.where)

    def check(self) -> None:
        """Find the space and the device."""
        _ = self.space, self.where

    def load(self) -> Mapping[str, Any]:
        """Images and the kind of device."""
        return {"images": self.parts.provenance, "device": self.where.type}

    def open(self) -> Saved[SupernetFile]:
        """The weights so far."""
        return Saved(read_or_restore(self.folder / SUPERNET_WEIGHTS, SupernetFile.read))

    def settled(self, store: Saved[SupernetFile], result: SupernetResult) -> bool:
        """Whether all steps are done."""
        return store.finished and super().settled(store, result)

    def execute(self, store: Saved[SupernetFile], tell: Tell) -> SupernetResult:
        """Train to the end; save at the end of every epoch, and within long ones."""
        stored, s, parts, space = store.file, self.settings, self.parts, self.space
        then = versions() if stored is None else stored.origin.versions
        origin = Origin(s, parts.provenance, parts.classes, self.where.type, then)
        before, start = 0.0 if stored is None else stored.seconds, time.monotonic()
        supernet = space.build(origin.num_classes, seed=s.seed).to(self.where)
        training: SupernetTraining[tuple[str, ...]] = SupernetTraining(
            supernet, parts.train, s.recipe, draw=space.draw, seed=s.seed
        )

        def save() -> None:
            # With infinite or NaN weights the loss of the next step would say so; it may not come.
            rate, steps = s.learning_rate, len(training.losses)
            what = f"at learning rate {rate:g} and after step {steps} the supernet's weights"
            check_finite(supernet.state_dict(), what=what)
            file = SupernetFile(origin, before + time.monotonic() - start, training.state())
            file.write(self.folder / SUPERNET_WEIGHTS)
            self._write_losses(training)

        if stored is None:
            save()  # so that the folder tells what is trained in it
        else:
            training.load_state(stored.state)
        with tracking(self.track, self.folder, s) as track:
            self._train(training, save, tell, track)
        losses = self._write_losses(training)  # a kill may have left them behind the weights
        return self.result(
            store,
            {"images": origin.images, "device": origin.device},
            losses=[round(loss, 6) for loss in losses],
            num_classes=origin.num_classes,
            accuracy=self._random_paths(supernet),
            params=sum(p.numel() for p in supernet.parameters()),
            wall_seconds=before + time.monotonic() - start,
            next_command=evolve_command(self.folder),
        )

    def _train(
        self,
        training: SupernetTraining[Any],
        save: Callable[[], None],
        tell: Tell,
        track: Track,
    ) -> None:
        """Train to the end; ``track`` gets the loss of every epoch, and the rows of the log."""
        steps, losses = training.steps_per_epoch, training.losses
        log = StepLog(
            self.folder,
            every=self.log_every,
            steps=steps,
            images=self.settings.batch_size,
            tell=lambda row: track("step", row, row.update),
        )
        left = {row.update: row for row in log.go_on(len(losses))}

        def tell_epoch(step: int) -> None:
            if step % steps == 0:
                loss = statistics.fmean(losses[step - steps : step])
                track("epoch", LossRow(step // steps, loss), step)

        for step in range(1, len(losses) + 1):  # what earlier sessions did
            if step in left:
                track("step", left[step], step)
            tell_epoch(step)
        epoch, begun = divmod(len(losses), steps)
        log.begin(epoch, losses[len(losses) - begun :])

        def follow(step: int, loss: float, rate: float) -> None:
            log.add(step, [loss], [rate])
            tell_epoch(step)
            if step % steps == 0:
                log.begin(step // steps)

        training.run(save, progress=tell, log=follow)

    def _write_losses(self, training: SupernetTraining[Any]) -> list[float]:
        """Write the mean loss of every whole epoch so far, in nats, and return it."""
        each, losses = training.steps_per_epoch, training.losses
        starts = range(0, len(losses) - each + 1, each)
        means = [statistics.fmean(losses[start : start + each]) for start in starts]
        lines = ["epoch,loss", *(f"{at},{x:.6g}" for at, x in enumerate(means, 1))]
        write_text(self.folder / LOSSES, "\n".join(lines) + "\n")
        return means

    def _random_paths(self, supernet: PSViTSupernet) -> PathAccuracies:
        """Accuracies of random paths on the validation images."""
        space, images = self.space, self.parts.validation
        rng = np.random.default_rng(seed_for(self.settings.seed, "looked at"))
        paths = (space.draw(rng) for _ in range(EVALUATED_PATHS))
        return PathAccuracies.of([space.accuracy(supernet, path, images) for path in paths])

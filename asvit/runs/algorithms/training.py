"""The algorithm of trainings."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from asvit._version import __version__
from asvit.core.continuing import check_same_digest
from asvit.core.preparing_settings import AUTO, BLACK, FITS
from asvit.core.progress import Tell, Track, ignore, image_progress
from asvit.core.run_files import CHECKPOINT, MODEL
from asvit.core.settings import fields_of
from asvit.core.versions import versions
from asvit.data import Preparation, TrainingSets
from asvit.data.base import read_each, subset
from asvit.data.sources import are_fractals
from asvit.data.statistics import MOST_HIDDEN, Normalisation, Survey, channel_statistics, survey
from asvit.networks import Network
from asvit.runs.algorithms.shared import SharedAlgorithm
from asvit.runs.checks import check_stay
from asvit.runs.folder import seems_usable
from asvit.runs.tracking import forget, tracking
from asvit.runs.trained_on import count_trained
from asvit.runs.training import TrainRun, plan_lines
from asvit.training.checkpoint import Checkpoint, Origin, Saved, settings_in
from asvit.training.classification import Classification
from asvit.training.distillation import Teacher, load_teacher
from asvit.training.loaders import open_loaders, open_sets
from asvit.training.pretrained import (
    load_pretrained,
    picture_statistics,
    weights_path,
)
from asvit.training.recipes import fitting_batch, fitting_rate
from asvit.training.result import TrainResult, export_command
from asvit.training.session import ClassifierSession
from asvit.training.settings import TrainSettings
from asvit.training.short import draw_linear_weights
from asvit.training.short_settings import imbalance
from asvit.training.timing import images_per_second, saved_by, stages_of, timed_batch
from proxies import Cost
from proxies.counts import count
from proxies.evaluation import seed_for

logger = logging.getLogger(__name__)

_MOST_FOR_GPU = 32  # workers
_PROBED = 16  # batches that are drawn to time a few


@dataclass(kw_only=True)
class TrainAlgorithm(SharedAlgorithm[TrainSettings, TrainResult], TrainRun):
    """Trains a network on labelled images."""

    requested: Mapping[str, Any] | None = None  # settings, where the batch may follow the data
    quiet: bool = False  # whether copies among the images are known already
    planned: Mapping[str, Any] | None = field(default=None, init=False)
    normalisation: Normalisation | None = field(default=None, init=False)
    under: str = field(default=BLACK, init=False)  # transparent pictures: one of ``GROUNDS``
    surveyed: Survey | None = field(default=None, init=False)

    @classmethod
    def make(cls, preset: str = "default", **values: Any) -> Self:
        """As the base does; the batch may follow the data where none is named."""
        if "batch_size" not in values:
            fields = fields_of(TrainSettings)
            requested = {name: value for name, value in values.items() if name in fields}
            values["requested"] = {**requested, "preset": preset}
        return super().make(preset, **values)

    def resolved(self) -> Self:
        """As the base does; where the recipe's batch is large for the images, a smaller one."""
        run = super().resolved()
        if run.requested is None:
            return run
        final = {"architecture": run.settings.architecture, "drop_path": run.settings.drop_path}
        settings = TrainSettings.make(**{**run._batching(), **run.requested, **final})
        whole = run.with_settings(settings, "sets", "processes")
        whole.requested = None
        return whole

    def _batching(self) -> Mapping[str, Any]:
        """Batch and learning rate where no batch is given; a resumed run keeps its own."""
        _ = self.processes  # of which all resume, or none
        batch, rate = self.settings.batch_size, self.settings.learning_rate
        usual = {"batch_size": batch}
        if self.begun:
            stored = self.begun_with
            if stored is None or stored.batch_size >= batch:
                return usual
            return {"batch_size": stored.batch_size, "learning_rate": stored.learning_rate}
        if not seems_usable(self.folder, self.files, fresh=self.fresh):
            return usual
        self.check()
        images = len(self.sets.train)
        size = fitting_batch(images, batch, self.processes.world)
        if size == batch or images < size:
            return usual
        if self.first():
            by_user = "learning_rate" in (self.requested or ())
            words = "" if by_user else " and a learning rate for them"
            logger.warning(
                "%d images to train on are few for the usual batch of %d; going on with "
                "batches of %d%s (--batch-size takes another size)",
                *(images, batch, size, words),
            )
        return {"batch_size": size, "learning_rate": fitting_rate(rate, size)}

    @property
    def begun_with(self) -> TrainSettings | None:
        """The settings of the training that goes on; None of a new one, or if none can be read."""
        return None if self.fresh else settings_in(self.folder / CHECKPOINT)

    @cached_property
    def sets(self) -> TrainingSets:
        """The images; the first process makes those that have to be made."""
        with self.processes.first_before_others():
            first = self.processes.first
            progress = image_progress(self.progress) if first else None
            return open_sets(self.settings, progress=progress, quiet=self.quiet or not first)

    @cached_property
    def network(self) -> Network:
        """Settings of the network."""
        s = self.settings
        return Network(
            s.architecture,
            s.image_size,
            len(self.sets.classes),
            self.sets.kind.channels,
            attention=s.attention,
            ffn=s.ffn,
            branches=s.branches,
        )

    @cached_property
    def cost(self) -> Cost:
        """Parameters and multiply-adds of the network."""
        return count(self.network.build(), self.settings.image_size, self.network.in_chans)

    @cached_property
    def teacher(self) -> Teacher | None:
        """The teacher with its weights, if there is one."""
        return load_teacher(self.settings, self.sets.classes, self.sets.kind)

    @cached_property
    def _teacher_digest(self) -> str:
        """The digest of the teacher's weights, taken before they are on a GPU."""
        return "" if self.teacher is None else self.teacher.digest

    def _check_weights(self) -> None:
        """Check that the weights to start from suit the network, unless the training has begun."""
        s = self.settings
        if s.weights is None or self.begun:
            return
        load_pretrained(
            self.network.build(), s.weights, new_head=s.new_head, classes=self.sets.classes
        )

    def _warn_of_trained(self) -> None:
        """Say on how many of the images to validate with weights were trained, if any."""
        s = self.settings
        if s.train_on_validation or not self.first():
            return
        if s.weights is not None:
            self._warn_of(s.weights, "weights", "is")
        if s.teacher_weights is not None:
            self._warn_of(s.teacher_weights, "teacher's weights", "may be")

    def _warn_of(self, weights: str, what: str, effect: str) -> None:
        images = self.sets.validation
        if trained := count_trained(weights, images, image_progress(self.progress)):
            logger.warning(
                "the %s in %s were trained on %d of the %d images for validation, so the "
                "accuracy %s too high; give others by --validation",
                *(what, weights, trained, len(images), effect),
            )

    @property
    def title(self) -> str:
        """What is about to be trained, on what and how."""
        return super().title if self.planned is None else "\n".join(plan_lines(self.planned))

    @property
    def most_workers(self) -> int:
        """More for a GPU, to which they hand on small parts of batches."""
        return _MOST_FOR_GPU if self.processes.device.type == "cuda" else super().most_workers

    def check(self) -> None:
        """Find the device."""
        _ = self.processes

    def load(self) -> Mapping[str, Any]:
        """Images, with teacher and weights to start from, and the kind of device."""
        s = self.settings
        needed = {"what it starts from": s.weights, "the teacher": s.teacher_weights}
        check_stay(self, {what: weights_path(text) for what, text in needed.items() if text})
        _ = self.sets, self.teacher
        self._check_weights()
        return {"images": self.sets.provenance, "device": self.processes.device.type}

    def check_store(self, store: Saved) -> None:
        """Check that the teacher has the same weights."""
        before = "" if store.file is None else store.file.origin.teacher
        if before:
            source, what = str(self.settings.teacher_weights), "with other weights of the teacher"
            stored, now = (
                {"source": source, "digest": digest} for digest in (before, self._teacher_digest)
            )
            check_same_digest(self.folder, what, "source", stored, now)

    def settled(self, store: Saved, result: TrainResult) -> bool:
        """Whether every epoch is done and the network is written."""
        return store.finished and (self.folder / MODEL).exists()

    def execute(self, store: Saved, tell: Tell) -> TrainResult:
        """Train to the last epoch."""
        self.processes.check_same({"the digest of the images": self.sets.provenance["digest"]})
        if store.file is None:
            parts = (self.sets.train, self.sets.validation)
            self.check_images([(part, range(len(part))) for part in parts])
            self._warn_of_trained()
            self._survey()
            self.normalisation = self._statistics()
        session = self._session(store.file, self._workers)
        if self.settings.hours is not None and store.file is None:  # else planned already
            session.plan(round(3600 * self.settings.hours / self._pace()[1]))
        self.planned = self._plan(session)
        with self._tracked(store) as track:
            session.run(tell if self.processes.first else ignore, track=track)
        return self.result(
            store,
            {
                "found_by": self.found_by,
                "images": dict(self.sets.provenance),
                "device": session.origin.device,
                "processes": self.processes.world,
            },
            network=self.network,
            params=self.cost.params,
            macs=self.cost.macs,
            history=tuple(session.history),
            best=session.best,
            stages=tuple(session.origin.stages),
            saved=saved_by(self.settings.plan, session.origin.stages),
            wall_seconds=session.seconds,
            next_command=export_command(self.folder),
        )

    def _survey(self) -> None:
        """Look at some of the pictures to train on, choose a ground, and warn of what is lost."""
        s, images = self.settings, self.sets.train
        if s.ground != AUTO:
            self.under = s.ground
        if are_fractals(s.data) or (self.quiet and s.ground != AUTO):
            return
        with self.processes.first_before_others():  # which then find the files in memory
            self.surveyed = survey(images, seed=s.seed)
        if s.ground == AUTO:
            self.under = self.surveyed.ground or BLACK
        if self.quiet or not self.first():
            return
        if s.fit == "crop" and self.surveyed.hidden > MOST_HIDDEN:
            logger.warning(
                "%s, which validation never sees; --fit pad or squash shows them whole",
                self.surveyed.hidden_in_words,
            )

    def _tracked(self, store: Saved) -> AbstractContextManager[Track]:
        """What tells trackers of rows, in the first process."""
        first = self.processes.first
        if first and store.file is None:  # a start that was killed may have had other settings
            forget(self.folder)
        return tracking(self.track if first else "", self.folder, self.settings)

    def _statistics(self) -> Normalisation | None:
        """Mean and deviation of the channels; None for those of ImageNet.

        RGB pictures have those of the weights that the training starts from, others their own.
        """
        s = self.settings
        if self.sets.kind.picture:
            named = self.network.architecture
            return None if s.weights is None else picture_statistics(s.weights, named)
        with self.processes.first_before_others():  # which then find the files in memory
            return channel_statistics(
                self.sets.train.on(self.under),
                seed=s.seed,
                progress=image_progress(self.progress) if self.processes.first else None,
            )

    def plan(self) -> dict[str, Any]:
        """What the run would do and how long it would take."""
        self.load()
        if not self.quiet:
            self._survey()
        plan = self._plan(self._session(None, 0))
        speed, epoch = self._pace()
        rest = 1 - (plan["saved"] or 0.0)
        whole = epoch * self.settings.epochs * rest
        seconds = min(whole, 3600 * (self.settings.hours or math.inf))
        return {**plan, "time": {"images_per_second": speed, "epoch": epoch, "seconds": seconds}}

    def _pace(self) -> tuple[float, float]:
        """Images a second, and seconds of an epoch, from a few batches."""
        speed, batch = self._images_per_second(), self.settings.batch_size
        # An image to validate with takes a forward pass, one to train on about three.
        images = len(self.sets.train) // batch * batch + len(self.sets.validation) / 3
        return speed, images / speed

    def _images_per_second(self) -> float:
        """Throughput of a few batches at the network's own tokens."""
        batch = timed_batch(self.settings, self.processes, self.cost.macs) * self.processes.world
        probed = replace(self.settings, batch_size=batch, retokenize="off")
        on_cpu = self.processes.device.type == "cpu"
        workers = 0 if on_cpu else self._workers  # which there take cores from the training
        normalisation = self.normalisation or self._provisional
        sets = self.sets.on(self.under)
        count = min(len(sets.train), _PROBED * batch)  # which may have to be decoded
        few = np.linspace(0, len(sets.train) - 1, count).astype(np.int64)
        checked = read_each(sets.train.check, few.tolist())  # designs leave unreadable ones out
        few = np.array([index for index, why in checked if why is None])
        sets = replace(sets, train=subset(sets.train, few, "to time"))
        task = self._task(self._fresh(), probed, normalisation, sets=sets)
        epochs = self.settings.epochs
        return images_per_second(task, self.processes, epochs=epochs, workers=workers)

    @property
    def _workers(self) -> int:
        return self.workers_for(len(self.sets.train), self.settings.epochs)

    def _fresh(self) -> nn.Module:
        """The network with its initial weights, the same in every process."""
        settings = self.settings
        with torch.random.fork_rng([]):
            torch.manual_seed(seed_for(settings.seed, "weights"))
            model = self.network.build(drop_path=settings.drop_path or None)
            if settings.init == "xavier":
                draw_linear_weights(model)
        return model

    def _task(
        self,
        model: nn.Module,
        settings: TrainSettings,
        normalisation: Normalisation | None,
        *,
        sets: TrainingSets,
        workers: int = 0,
    ) -> Classification:
        """The training of a network on some sets, with these settings."""
        processes, classes = self.processes, self.network.num_classes
        if self.teacher is not None and normalisation is not None:
            self.teacher.take(normalisation)
        loaders = open_loaders(
            sets,
            settings,
            processes,
            normalisation=normalisation,
            workers=workers,
            progress=image_progress(self.progress) if processes.first else None,
        )
        return Classification(
            model,
            settings,
            processes,
            *loaders,
            classes=classes,
            teacher=self.teacher,
        )

    def _session(self, stored: Checkpoint | None, workers: int) -> ClassifierSession:
        """A session, a new one or from a checkpoint."""
        settings, processes, model = self.settings, self.processes, self._fresh()
        ground = self.under if stored is None else stored.origin.ground
        sets = self.sets.on(ground)
        if stored is not None:
            origin = replace(stored.origin, settings=settings)
        else:
            if settings.weights is not None:
                load_pretrained(model, settings.weights, new_head=settings.new_head)
            stages = stages_of(settings, model) if settings.staged else ()
            origin = Origin(
                settings,
                sets.provenance,
                sets.classes,
                processes.device.type,
                stages,
                versions(),
                self.normalisation or self._provisional,
                ground,
                self._teacher_digest,
            )
        normalisation = origin.normalisation
        return ClassifierSession(
            folder=self.folder,
            task=self._task(model, settings, normalisation, sets=sets, workers=workers),
            origin=origin,
            processes=processes,
            stored=stored,
            checkpoint_minutes=self.checkpoint_minutes,
            network=self.network,
            images=sets.validation,
            facts=self._facts(normalisation, ground),
        )

    @property
    def _provisional(self) -> Normalisation | None:
        """Placeholder statistics of a session that is only timed."""
        channels = self.sets.kind.channels
        return (
            None if self.sets.kind.picture else Normalisation((0.0,) * channels, (1.0,) * channels)
        )

    def _facts(self, own: Normalisation | None, ground: str) -> dict[str, Any]:
        """Facts to store with the weights."""
        augmentation = self.settings.augmentation
        prepared = Preparation(
            self.settings.image_size,
            self.sets.kind,
            **({} if own is None else vars(own)),
            crop_pct=augmentation.crop_pct,
            crop_mode=FITS[augmentation.fit],
            ground=ground,
        )
        return {
            **prepared.facts,
            "recipe": self.settings.recipe,
            "images": self.sets.provenance["source"],
            "found_by": self.found_by,
            "asvit": __version__,
        }

    @property
    def _transparent_in_words(self) -> str:
        """What transparent pictures are laid over; empty where none were seen."""
        if self.surveyed is None or not self.surveyed.transparent:
            return ""
        return self.surveyed.transparent_in_words(self.under)

    def _plan(self, session: ClassifierSession) -> dict[str, Any]:
        """What ``--dry-run --json`` shows."""
        return {
            "folder": self.folder,
            "network": self.network,
            "params": self.cost.params,
            "macs": self.cost.macs,
            "images": {"train": len(self.sets.train), "validation": len(self.sets.validation)},
            "source": self.sets.provenance["source"],
            "pixels": str(self.sets.kind),
            "picture": self.sets.kind.picture,
            "transparent": self._transparent_in_words,
            "imbalance": imbalance(np.bincount(self.sets.train.labels)),
            "steps_per_epoch": session.task.steps,
            "stages": session.origin.stages,
            "saved": saved_by(self.settings.plan, session.origin.stages),
            "device": str(self.processes.device),
            "precision": session.task.precision,
            "processes": self.processes.world,
            "settings": self.settings,
        }

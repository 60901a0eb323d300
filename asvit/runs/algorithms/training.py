"""The algorithm of trainings."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from asvit._version import __version__
from asvit.core.progress import ignore, image_progress
from asvit.core.run_files import CHECKPOINT
from asvit.core.shared_settings import AUTO, BLACK, FITS
from asvit.data import Preparation, TrainingSets
from asvit.data.base import read_each, subset
from asvit.data.sources import are_fractals
from asvit.data.statistics import MOST_HIDDEN, Normalisation, Survey, channel_statistics, survey
from asvit.networks import Network
from asvit.networks.opening import load_pretrained, picture_statistics, weights_path
from asvit.runs.algorithms.shared import (
    MOST_WORKERS,
    check_images,
    sharing,
    stored_checkpoint,
    without_drop_path,
    workers_for,
)
from asvit.runs.run_folder import RunFolder
from asvit.runs.tracking import tracking
from asvit.runs.training import plan_lines
from asvit.training.checkpoint import Checkpoint, Origin
from asvit.training.classification import Classification
from asvit.training.distillation import load_teacher
from asvit.training.distributed import ProcessGroup, processes_of
from asvit.training.loaders import open_loaders, open_sets
from asvit.training.recipes import fitting_batch, fitting_rate
from asvit.training.result import TrainResult, export_command
from asvit.training.session import ClassifierSession
from asvit.training.settings import TrainSettings
from asvit.training.short import draw_linear_weights
from asvit.training.short_settings import imbalance
from asvit.training.timing import images_per_second, saved_by, stages_of, timed_batch
from asvit.use.trained_on import count_trained
from proxies import Cost
from proxies.counts import count
from proxies.evaluation import seed_for

logger = logging.getLogger(__name__)

Run = RunFolder[TrainSettings, TrainResult]

_BRANCHES = 2  # of compact parts, as in asvit.convert
_MOST_FOR_GPU = 32  # workers
_PROBED = 16  # batches that are drawn to time a few


def execute(_asked: TrainSettings, run: Run) -> TrainResult:
    """Train a network on labelled images to the last epoch."""
    with sharing(run) as processes:
        stored = stored_checkpoint(run, processes, CHECKPOINT)
        job = Job(run, processes)
        s, sets = job.settings, job.sets
        for what, text in (("what it starts from", s.weights), ("the teacher", s.teacher_weights)):
            if text:
                run.needs(what, weights_path(text))
        if stored is None and s.weights is not None:  # before anything is begun
            model = job.network.build()
            load_pretrained(model, s.weights, new_head=s.new_head, classes=sets.classes)
        processes.check_same({"the digest of the images": sets.provenance["digest"]})
        if run.start is None:
            both = (sets.train, sets.validation)
            check_images(run, processes, [(part, range(len(part))) for part in both])
        if stored is None:
            job.warn_of_trained()
            job.survey()
            job.take_statistics()
        session = job.session(stored, job.workers)
        if s.hours is not None and stored is None:  # else planned already
            session.plan(round(3600 * s.hours / job.pace()[1]))
        teacher = None
        if job.teacher is not None:
            teacher = {"digest": job.teacher.digest, "source": str(s.teacher_weights)}
        run.begin(s, images=sets.provenance, device=processes.device.type, teacher=teacher)
        run.title = "\n".join(plan_lines(job.facts(session)))
        track = run.options.track if processes.first else ""
        with tracking(track, run.folder, s) as tell_trackers:
            session.run(run.tell if processes.first else ignore, track=tell_trackers)
    return run.result(
        {"found_by": run.facts["found_by"], "processes": processes.world},
        network=job.network,
        params=job.cost.params,
        macs=job.cost.macs,
        history=tuple(session.history),
        best=session.best,
        stages=tuple(session.origin.stages),
        saved=saved_by(s.plan, session.origin.stages),
        wall_seconds=session.seconds,
        next_command=export_command(run.folder),
    )


def plan(run: Run, sets: TrainingSets | None = None) -> dict[str, Any]:
    """What a run would do and how long it would take; nothing is written.

    ``sets`` are its images, where they are open already.
    """
    job = Job(run, processes_of(run.options.device), sets)
    if not run.options.quiet:
        job.survey()
    facts, (speed, epoch) = job.facts(job.session(None, 0)), job.pace()
    seconds = epoch * job.settings.epochs * (1 - (facts["saved"] or 0.0))
    seconds = min(seconds, 3600 * (job.settings.hours or math.inf))
    return {**facts, "time": {"images_per_second": speed, "epoch": epoch, "seconds": seconds}}


class Job:
    """What a training has before it begins: images, network, settings that follow from them."""

    def __init__(
        self, run: Run, processes: ProcessGroup, sets: TrainingSets | None = None
    ) -> None:
        s = without_drop_path(run.settings, run)
        self.run, self.processes = run, processes
        # Of images that take a while; the first process tells.
        self._progress = image_progress(run.progress) if processes.first else None
        if sets is None:
            with processes.first_before_others():  # the first one makes those that have to be made
                sets = open_sets(
                    s, progress=self._progress, quiet=run.options.quiet or not processes.first
                )
        self.sets, self.settings = sets, self._with_batch(s, len(sets.train))
        self.network = Network(
            s.architecture,
            s.image_size,
            len(sets.classes),
            sets.kind.channels,
            attention=s.attention,
            ffn=s.ffn,
            branches=0 if s.ffn is None else _BRANCHES,
        )
        self.teacher = load_teacher(self.settings, sets.classes, sets.kind)
        self.ground = BLACK  # under transparent pictures: one of ``GROUNDS``
        # None is ImageNet's; of other images, a placeholder until their statistics are taken.
        plain = Normalisation((0.0,) * sets.kind.channels, (1.0,) * sets.kind.channels)
        self.normalisation = None if sets.kind.picture else plain
        self.surveyed: Survey | None = None

    def _with_batch(self, s: TrainSettings, images: int) -> TrainSettings:
        """Settings with a smaller batch where the recipe's is large for the images.

        A resumed run keeps its own, whatever processes share it now.
        """
        run = self.run
        before = None if run.start is None else cast("TrainSettings", run.start.settings)
        if "batch_size" in run.arguments:
            return s
        if before is not None:
            size, rate = min(before.batch_size, s.batch_size), before.learning_rate
        else:
            size = fitting_batch(images, s.batch_size, self.processes.world)
            rate = fitting_rate(s.learning_rate, size)
        if size == s.batch_size or images < size:
            return s
        if run.kind.first() and before is None:
            logger.warning(
                "%d images to train on are few for the usual batch of %d; going on with "
                "batches of %d%s (--batch-size takes another size)",
                *(images, s.batch_size, size),
                "" if "learning_rate" in run.arguments else " and a learning rate for them",
            )
        given = {"batch_size": size, "learning_rate": rate, **run.arguments}
        return TrainSettings.make(
            **{**given, "architecture": s.architecture, "drop_path": s.drop_path}
        )

    @cached_property
    def cost(self) -> Cost:
        """Parameters and multiply-adds of the network."""
        return count(self.network.build(), self.settings.image_size, self.network.in_chans)

    @property
    def workers(self) -> int:
        """Processes that prepare images; more for a GPU, which takes small parts of batches."""
        most = _MOST_FOR_GPU if self.processes.device.type == "cuda" else MOST_WORKERS
        images, epochs = len(self.sets.train), self.settings.epochs
        return workers_for(self.run.options, self.processes, images, epochs, most)

    def warn_of_trained(self) -> None:
        """Say on how many of the images to validate with weights were trained, if any."""
        s, images = self.settings, self.sets.validation
        if s.train_on_validation or not self.processes.first:
            return
        for weights, what, effect in (
            (s.weights, "weights", "is"),
            (s.teacher_weights, "teacher's weights", "may be"),
        ):
            if weights and (trained := count_trained(weights, images, self._progress)):
                logger.warning(
                    "the %s in %s were trained on %d of the %d images for validation, so the "
                    "accuracy %s too high; give others by --validation",
                    *(what, weights, trained, len(images), effect),
                )

    def survey(self) -> None:
        """Look at some of the pictures to train on, choose a ground, and warn of what is lost."""
        s, quiet = self.settings, self.run.options.quiet
        if s.ground != AUTO:
            self.ground = s.ground
        if are_fractals(s.data) or (quiet and s.ground != AUTO):
            return
        with self.processes.first_before_others():  # which then find the files in memory
            self.surveyed = survey(self.sets.train, seed=s.seed)
        if s.ground == AUTO:
            self.ground = self.surveyed.ground or BLACK
        lost = s.fit == "crop" and self.surveyed.hidden > MOST_HIDDEN
        if lost and self.processes.first and not quiet:
            logger.warning(
                "%s, which validation never sees; --fit pad or squash shows them whole",
                self.surveyed.hidden_in_words,
            )

    def take_statistics(self) -> None:
        """Mean and deviation of the channels, where they are not those of ImageNet.

        RGB pictures have those of the weights that the training starts from, others their own.
        """
        s = self.settings
        if not self.sets.kind.picture:
            with self.processes.first_before_others():  # which then find the files in memory
                images = self.sets.train.on(self.ground)
                self.normalisation = channel_statistics(
                    images, seed=s.seed, progress=self._progress
                )
        elif s.weights is not None:
            self.normalisation = picture_statistics(s.weights, self.network.architecture)

    def pace(self) -> tuple[float, float]:
        """Images a second and seconds of an epoch, from a few batches at the usual tokens."""
        s, processes = self.settings, self.processes
        batch = timed_batch(s, processes, self.cost.macs) * processes.world
        sets = self.sets.on(self.ground)
        few = min(len(sets.train), _PROBED * batch)  # which may have to be decoded
        places = np.linspace(0, len(sets.train) - 1, few).astype(np.int64)
        checked = read_each(sets.train.check, places.tolist())  # designs leave bad ones out
        readable = np.array([index for index, why in checked if why is None])
        sets = replace(sets, train=subset(sets.train, readable, "to time"))
        probed = replace(s, batch_size=batch, retokenize="off")
        task = self._task(self._fresh(), probed, self.normalisation, sets)
        # On a CPU, workers take cores from the training.
        workers = 0 if processes.device.type == "cpu" else self.workers
        speed = images_per_second(task, processes, epochs=s.epochs, workers=workers)
        # An image to validate with takes a forward pass, one to train on about three.
        trained = len(self.sets.train) // s.batch_size * s.batch_size
        return speed, (trained + len(self.sets.validation) / 3) / speed

    def _fresh(self) -> nn.Module:
        """The network with its initial weights, the same in every process."""
        s = self.settings
        with torch.random.fork_rng([]):
            torch.manual_seed(seed_for(s.seed, "weights"))
            model = self.network.build(drop_path=s.drop_path or None)
            if s.init == "xavier":
                draw_linear_weights(model)
        return model

    def _task(
        self,
        model: nn.Module,
        settings: TrainSettings,
        normalisation: Normalisation | None,
        sets: TrainingSets,
        workers: int = 0,
    ) -> Classification:
        """The training of a network on some sets, with these settings."""
        if self.teacher is not None and normalisation is not None:
            self.teacher.take(normalisation)
        loaders = open_loaders(
            sets,
            settings,
            self.processes,
            normalisation=normalisation,
            workers=workers,
            progress=self._progress,
        )
        return Classification(
            *(model, settings, self.processes, *loaders),
            classes=self.network.num_classes,
            teacher=self.teacher,
        )

    def session(self, stored: Checkpoint | None, workers: int) -> ClassifierSession:
        """A session, a new one or from a checkpoint."""
        s, model = self.settings, self._fresh()
        ground = self.ground if stored is None else stored.origin.ground
        sets = self.sets.on(ground)
        if stored is not None:
            origin = replace(stored.origin, settings=s)
        else:
            if s.weights is not None:
                load_pretrained(model, s.weights, new_head=s.new_head)
            stages = stages_of(s, model) if s.staged else ()
            origin = Origin(s, sets.provenance, sets.classes, stages, self.normalisation, ground)
        normalisation = origin.normalisation
        prepared = Preparation(
            s.image_size,
            sets.kind,
            **({} if normalisation is None else vars(normalisation)),
            crop_pct=s.augmentation.crop_pct,
            crop_mode=FITS[s.augmentation.fit],
            ground=ground,
        )
        return ClassifierSession(
            folder=self.run.folder,
            task=self._task(model, s, normalisation, sets, workers),
            origin=origin,
            processes=self.processes,
            stored=stored,
            checkpoint_minutes=self.run.options.checkpoint_minutes,
            network=self.network,
            images=sets.validation,
            facts={
                **prepared.facts,
                "recipe": s.recipe,
                "images": sets.provenance["source"],
                "found_by": self.run.facts["found_by"],
                "asvit": __version__,
            },
        )

    def facts(self, session: ClassifierSession) -> dict[str, Any]:
        """What is going to be done, as ``--dry-run --json`` shows it."""
        sets, seen = self.sets, self.surveyed
        transparent = seen.transparent_in_words(self.ground) if seen and seen.transparent else ""
        return {
            "folder": self.run.folder,
            "network": self.network,
            "params": self.cost.params,
            "macs": self.cost.macs,
            "images": {"train": len(sets.train), "validation": len(sets.validation)},
            "source": sets.provenance["source"],
            "pixels": str(sets.kind),
            "picture": sets.kind.picture,
            "transparent": transparent,
            "imbalance": imbalance(np.bincount(sets.train.labels)),
            "steps_per_epoch": session.task.steps,
            "stages": session.origin.stages,
            "saved": saved_by(self.settings.plan, session.origin.stages),
            "device": str(self.processes.device),
            "precision": session.task.precision,
            "processes": self.processes.world,
            "settings": self.settings,
        }

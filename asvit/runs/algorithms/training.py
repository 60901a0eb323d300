"""The algorithm of trainings."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from asvit._version import __version__
from asvit.core.progress import Tell, ignore, image_progress
from asvit.core.run_files import CHECKPOINT
from asvit.core.settings import Settings
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
from asvit.runs.training import TrainOptions, plan_lines
from asvit.training.checkpoint import Checkpoint, Origin
from asvit.training.classification import Classification
from asvit.training.distillation import Teacher, load_teacher
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

_BRANCHES = 2  # of compact parts, as in asvit.convert
_MOST_FOR_GPU = 32  # workers
Run = RunFolder[TrainSettings, TrainResult]

_PROBED = 16  # batches that are drawn to time a few


def execute(asked: TrainSettings, run: Run) -> TrainResult:
    """Train a network on labelled images to the last epoch."""
    with sharing(run) as processes:
        stored = stored_checkpoint(run, processes, CHECKPOINT)
        job = _job(asked, run, processes, None if run.start is None else run.start.settings)
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
            _warn_of_trained(job, run)
            job.survey()
            job.normalisation = _statistics(job)
        session = _session(job, run, stored, job.workers)
        if s.hours is not None and stored is None:  # else planned already
            session.plan(round(3600 * s.hours / job.pace()[1]))
        teacher = None if job.teacher is None else {"digest": job.teacher.digest}
        if teacher is not None:
            teacher["source"] = str(s.teacher_weights)
        run.begin(s, images=sets.provenance, device=processes.device.type, teacher=teacher)
        run.title = "\n".join(plan_lines(_facts_of_plan(job, run, session)))
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
    processes = processes_of(run.options.device)
    job = _job(run.settings, run, processes, None, sets)
    if not run.options.quiet:
        job.survey()
    session = _session(job, run, None, 0)
    facts = _facts_of_plan(job, run, session)
    speed, epoch = job.pace()
    rest = 1 - (facts["saved"] or 0.0)
    whole = epoch * job.settings.epochs * rest
    seconds = min(whole, 3600 * (job.settings.hours or math.inf))
    return {**facts, "time": {"images_per_second": speed, "epoch": epoch, "seconds": seconds}}


def _job(
    asked: TrainSettings,
    run: Run,
    processes: ProcessGroup,
    before: Settings | None,
    sets: TrainingSets | None = None,
) -> Job:
    """The images and the network of a training, with the settings that follow from them."""
    s = without_drop_path(asked, run)
    if sets is None:
        with processes.first_before_others():  # the first one makes those that have to be made
            sets = open_sets(
                s,
                progress=image_progress(run.progress) if processes.first else None,
                quiet=run.options.quiet or not processes.first,
            )
    s = _with_batch(s, run, len(sets.train), processes, cast("TrainSettings | None", before))
    network = Network(
        s.architecture,
        s.image_size,
        len(sets.classes),
        sets.kind.channels,
        attention=s.attention,
        ffn=s.ffn,
        branches=0 if s.ffn is None else _BRANCHES,
    )
    teacher = load_teacher(s, sets.classes, sets.kind)
    return Job(s, sets, network, processes, teacher, run.options, run.progress)


def _with_batch(
    s: TrainSettings,
    run: Run,
    images: int,
    processes: ProcessGroup,
    before: TrainSettings | None,
) -> TrainSettings:
    """Settings with a smaller batch where the recipe's is large for the images.

    A resumed run keeps its own, whatever processes share it now.
    """
    if "batch_size" in run.arguments:
        return s
    if before is not None:
        size, rate = min(before.batch_size, s.batch_size), before.learning_rate
    else:
        size = fitting_batch(images, s.batch_size, processes.world)
        rate = fitting_rate(s.learning_rate, size)
    if size == s.batch_size or images < size:
        return s
    if run.kind.first() and before is None:
        words = "" if "learning_rate" in run.arguments else " and a learning rate for them"
        logger.warning(
            "%d images to train on are few for the usual batch of %d; going on with "
            "batches of %d%s (--batch-size takes another size)",
            *(images, s.batch_size, size, words),
        )
    batch = {"batch_size": size, "learning_rate": rate}
    final = {"architecture": s.architecture, "drop_path": s.drop_path}
    return TrainSettings.make(**{**batch, **run.arguments, **final})


@dataclass(eq=False)
class Job:
    """What a training has before it begins, and what is found out about its images."""

    settings: TrainSettings
    sets: TrainingSets
    network: Network
    processes: ProcessGroup
    teacher: Teacher | None
    options: TrainOptions
    progress: Tell
    normalisation: Normalisation | None = None
    ground: str = BLACK  # under transparent pictures: one of ``GROUNDS``
    surveyed: Survey | None = None

    @cached_property
    def cost(self) -> Cost:
        """Parameters and multiply-adds of the network."""
        return count(self.network.build(), self.settings.image_size, self.network.in_chans)

    @property
    def workers(self) -> int:
        """Processes that prepare images; more for a GPU, which takes small parts of batches."""
        most = _MOST_FOR_GPU if self.processes.device.type == "cuda" else MOST_WORKERS
        return workers_for(
            *(self.options, self.processes, len(self.sets.train), self.settings.epochs, most)
        )

    def survey(self) -> None:
        """Look at some of the pictures to train on, choose a ground, and warn of what is lost."""
        s, images = self.settings, self.sets.train
        if s.ground != AUTO:
            self.ground = s.ground
        if are_fractals(s.data) or (self.options.quiet and s.ground != AUTO):
            return
        with self.processes.first_before_others():  # which then find the files in memory
            self.surveyed = survey(images, seed=s.seed)
        if s.ground == AUTO:
            self.ground = self.surveyed.ground or BLACK
        if self.options.quiet or not self.processes.first:
            return
        if s.fit == "crop" and self.surveyed.hidden > MOST_HIDDEN:
            logger.warning(
                "%s, which validation never sees; --fit pad or squash shows them whole",
                self.surveyed.hidden_in_words,
            )

    def pace(self) -> tuple[float, float]:
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
        workers = 0 if on_cpu else self.workers  # which there take cores from the training
        sets = self.sets.on(self.ground)
        few = min(len(sets.train), _PROBED * batch)  # which may have to be decoded
        places = np.linspace(0, len(sets.train) - 1, few).astype(np.int64)
        checked = read_each(sets.train.check, places.tolist())  # designs leave bad ones out
        readable = np.array([index for index, why in checked if why is None])
        sets = replace(sets, train=subset(sets.train, readable, "to time"))
        task = self.task(self.fresh(), probed, self.usual_normalisation, sets)
        epochs = self.settings.epochs
        return images_per_second(task, self.processes, epochs=epochs, workers=workers)

    @property
    def usual_normalisation(self) -> Normalisation | None:
        """That of the images, or a placeholder where a session is only timed."""
        channels = self.sets.kind.channels
        if self.normalisation is not None or self.sets.kind.picture:
            return self.normalisation
        return Normalisation((0.0,) * channels, (1.0,) * channels)

    def fresh(self) -> nn.Module:
        """The network with its initial weights, the same in every process."""
        s = self.settings
        with torch.random.fork_rng([]):
            torch.manual_seed(seed_for(s.seed, "weights"))
            model = self.network.build(drop_path=s.drop_path or None)
            if s.init == "xavier":
                draw_linear_weights(model)
        return model

    def task(
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
            progress=image_progress(self.progress) if self.processes.first else None,
        )
        return Classification(
            *(model, settings, self.processes, *loaders),
            classes=self.network.num_classes,
            teacher=self.teacher,
        )


def _warn_of_trained(job: Job, run: Run) -> None:
    """Say on how many of the images to validate with weights were trained, if any."""
    s, images = job.settings, job.sets.validation
    if s.train_on_validation or not job.processes.first:
        return
    for weights, what, effect in (
        (s.weights, "weights", "is"),
        (s.teacher_weights, "teacher's weights", "may be"),
    ):
        if weights and (trained := count_trained(weights, images, image_progress(run.progress))):
            logger.warning(
                "the %s in %s were trained on %d of the %d images for validation, so the "
                "accuracy %s too high; give others by --validation",
                *(what, weights, trained, len(images), effect),
            )


def _statistics(job: Job) -> Normalisation | None:
    """Mean and deviation of the channels; None for those of ImageNet.

    RGB pictures have those of the weights that the training starts from, others their own.
    """
    s = job.settings
    if job.sets.kind.picture:
        named = job.network.architecture
        return None if s.weights is None else picture_statistics(s.weights, named)
    with job.processes.first_before_others():  # which then find the files in memory
        return channel_statistics(
            job.sets.train.on(job.ground),
            seed=s.seed,
            progress=image_progress(job.progress) if job.processes.first else None,
        )


def _session(job: Job, run: Run, stored: Checkpoint | None, workers: int) -> ClassifierSession:
    """A session, a new one or from a checkpoint."""
    s, processes, model = job.settings, job.processes, job.fresh()
    ground = job.ground if stored is None else stored.origin.ground
    sets = job.sets.on(ground)
    if stored is not None:
        origin = replace(stored.origin, settings=s)
    else:
        if s.weights is not None:
            load_pretrained(model, s.weights, new_head=s.new_head)
        origin = Origin(
            s,
            sets.provenance,
            sets.classes,
            stages_of(s, model) if s.staged else (),
            job.usual_normalisation,
            ground,
        )
    normalisation = origin.normalisation
    augmentation = s.augmentation
    prepared = Preparation(
        s.image_size,
        sets.kind,
        **({} if normalisation is None else vars(normalisation)),
        crop_pct=augmentation.crop_pct,
        crop_mode=FITS[augmentation.fit],
        ground=ground,
    )
    return ClassifierSession(
        folder=run.folder,
        task=job.task(model, s, normalisation, sets, workers),
        origin=origin,
        processes=processes,
        stored=stored,
        checkpoint_minutes=run.options.checkpoint_minutes,
        network=job.network,
        images=sets.validation,
        facts={
            **prepared.facts,
            "recipe": s.recipe,
            "images": sets.provenance["source"],
            "found_by": run.facts["found_by"],
            "asvit": __version__,
        },
    )


def _facts_of_plan(job: Job, run: Run, session: ClassifierSession) -> dict[str, Any]:
    """What ``--dry-run --json`` shows."""
    sets, seen = job.sets, job.surveyed
    transparent = seen.transparent_in_words(job.ground) if seen and seen.transparent else ""
    return {
        "folder": run.folder,
        "network": job.network,
        "params": job.cost.params,
        "macs": job.cost.macs,
        "images": {"train": len(sets.train), "validation": len(sets.validation)},
        "source": sets.provenance["source"],
        "pixels": str(sets.kind),
        "picture": sets.kind.picture,
        "transparent": transparent,
        "imbalance": imbalance(np.bincount(sets.train.labels)),
        "steps_per_epoch": session.task.steps,
        "stages": session.origin.stages,
        "saved": saved_by(job.settings.plan, session.origin.stages),
        "device": str(job.processes.device),
        "precision": session.task.precision,
        "processes": job.processes.world,
        "settings": job.settings,
    }

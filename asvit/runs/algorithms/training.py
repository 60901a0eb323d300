"""The algorithm of trainings."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch

from asvit._version import __version__
from asvit.core.continuing import check_same_digest
from asvit.core.preparing_settings import AUTO, BLACK, FITS
from asvit.core.progress import Tell, ignore, image_progress
from asvit.core.run_files import CHECKPOINT, MODEL, previous
from asvit.core.settings import WrongOption, fields_of
from asvit.core.tensor_files import is_whole
from asvit.core.versions import versions
from asvit.data import Preparation, TrainingSets
from asvit.data.sources import are_fractals
from asvit.data.statistics import Normalisation, channel_statistics
from asvit.data.survey import MOST_HIDDEN, Survey, survey
from asvit.networks import Network
from asvit.runs.algorithms.shared import SharedAlgorithm
from asvit.runs.checks import check_stay
from asvit.runs.folder import LOCK, seems_usable
from asvit.runs.trained_on import count_trained
from asvit.runs.training import TrainRun, plan_lines
from asvit.training.balance import imbalance
from asvit.training.checkpoint import Checkpoint, Origin, Saved, settings_in
from asvit.training.distillation import Teacher, load_teacher
from asvit.training.precision import resolve_precision
from asvit.training.pretrained import (
    load_pretrained,
    other_classes,
    picture_statistics,
    weights_paths,
)
from asvit.training.recipes import small_batch
from asvit.training.result import TrainResult, export_command
from asvit.training.session import Session
from asvit.training.sets import open_sets
from asvit.training.settings import TrainSettings
from asvit.training.short import draw_linear_weights
from asvit.training.token_costs import stages_of, timed_batch
from proxies.evaluation import seed_for

logger = logging.getLogger(__name__)

_MOST_FOR_GPU = 32  # workers
_ADVICE = ", or give --bad-images replace"


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
        if values.get("fresh") and values.get("resume"):
            raise WrongOption("--fresh and --resume contradict each other; give one of them")
        if "batch_size" not in values:
            fields = fields_of(TrainSettings)
            requested = {name: value for name, value in values.items() if name in fields}
            values["requested"] = {**requested, "preset": preset}
        return super().make(preset, **values)

    def resolved(self) -> Self:
        """As the base does; where images are fewer than the recipe's batch, with a smaller one."""
        if self.requested is None:
            return self
        final = {"architecture": self.settings.architecture, "batch_size": self._batch()}
        settings = TrainSettings.make(**{**self.requested, **final})
        whole = self.with_settings(settings, "sets", "processes")
        whole.requested = None
        return whole

    def _batch(self) -> int:
        """The batch size where none is given; a resumed run keeps its own."""
        _ = self.processes  # of which all resume, or none
        batch = self.settings.batch_size
        if self.begun:
            stored = self.begun_with
            return batch if stored is None else min(batch, stored.batch_size)
        if not seems_usable(self.folder, self.files, fresh=self.fresh):
            return batch
        self.check()
        images, size = len(self.sets.train), 4 * self.processes.world  # mixing takes pairs
        if batch <= images or images < size:
            return batch
        size = small_batch(images, size)
        if self.first():
            by_user = "learning_rate" in (self.requested or ())
            rate = "" if by_user else " and a learning rate for them"
            logger.warning(
                "%d images to train on are fewer than the usual batch of %d; going on with "
                "batches of %d%s (--batch-size takes another size)",
                *(images, batch, size, rate),
            )
        return size

    @property
    def begun_with(self) -> TrainSettings | None:
        """The settings of the training that goes on; None of a new one, or if none can be read."""
        names = () if self.fresh else (CHECKPOINT, previous(CHECKPOINT))
        stored = (settings_in(self.folder / name) for name in names)
        return next((settings for settings in stored if settings is not None), None)

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
        load_pretrained(self.network.build(), s.weights, new_head=s.new_head)
        line = other_classes(s.weights, self.sets.classes)  # warns of an edited space, too
        if line and not s.new_head and self.first():
            logger.warning("%s; --new-head starts with a fresh one", line)

    def _warn_of_trained(self) -> None:
        """Say on how many of the images to validate with weights were trained, if any."""
        s = self.settings
        if s.train_on_validation or not self.first():
            return
        if s.weights is not None:
            self._warn_of(s.weights, "weights", "is")
        if s.teacher_weights is not None and not self.quiet:  # which a design says once
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
        """Find the device, and the run to resume."""
        _ = self.processes
        # A run that was stopped in its first epoch has but claimed its folder.
        if self.resume and not any((self.folder / n).exists() for n in (CHECKPOINT, LOCK)):
            raise FileNotFoundError(
                f"no training to go on with in {self.folder}; leave out --resume to start one"
            )

    def load(self) -> Mapping[str, Any]:
        """Images, with teacher and weights to start from, and the kind of device."""
        s = self.settings
        needed = {"what it starts from": s.weights, "the teacher": s.teacher_weights}
        check_stay(self, weights_paths(needed))
        _ = self.sets, self.teacher
        self._check_weights()
        return {"images": self.sets.provenance, "device": self.processes.device.type}

    def check_store(self, store: Saved[Checkpoint]) -> None:
        """Check that the teacher has the same weights."""
        before = "" if store.file is None else store.file.origin.teacher
        if before:
            source, what = str(self.settings.teacher_weights), "with other weights of the teacher"
            stored, now = (
                {"source": source, "digest": digest} for digest in (before, self._teacher_digest)
            )
            check_same_digest(self.folder, what, "source", stored, now)

    def settled(self, store: Saved[Checkpoint], result: TrainResult) -> bool:
        """Whether every epoch is done and the network is written, whole."""
        return store.finished and is_whole(self.folder / MODEL)

    def execute(self, store: Saved[Checkpoint], tell: Tell) -> TrainResult:
        """Train to the last epoch."""
        self.processes.check_same(
            {
                "the digest of the images": self.sets.provenance["digest"],
                "the digest of the teacher": self._teacher_digest,
            }
        )
        if store.file is None:
            if self.settings.bad_images == "stop":
                parts = (self.sets.train, self.sets.validation)
                self.check_images([(part, range(len(part))) for part in parts], _ADVICE)
            self._warn_of_trained()
            self._survey()
            self.normalisation = self._statistics()
        if self.processes.first and (line := self.settings.augmentation.left_out(self.sets.kind)):
            logger.warning("%s", line)
        session = self._session(self.settings, store.file, self._workers)
        if self.settings.hours is not None and store.file is None:  # else planned already
            session.plan(round(3600 * self.settings.hours / self._pace(session)[1]))
        self.planned = self._plan(session)
        with self.tracked(store) as track:
            session.run(tell if self.processes.first else ignore, track=track)
        if self.processes.first:
            session.finish()
        return self.result(
            store,
            {
                "found_by": self.found_by,
                "images": dict(self.sets.provenance),
                "device": session.origin.device,
                "processes": self.processes.world,
            },
            network=self.network,
            params=session.cost.params,
            macs=session.cost.macs,
            history=tuple(session.history),
            best=session.best,
            stages=tuple(session.origin.stages),
            saved=session.saved,
            bad_images=session.bad_images,
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
        how = s.augmentation
        whole = replace(how, fit="squash") if s.fit == "pad" else how  # a border is no content
        crop = whole.validation_transform(s.image_size) if images.kind.picture else None
        with self.processes.first_before_others():  # which then find the files in memory
            self.surveyed = survey(images, crop, seed=s.seed)
        if s.ground == AUTO:
            self.under = self.surveyed.ground or BLACK
        if self.quiet or not self.first():
            return
        self.surveyed.warn_of_flat(self.under)
        if s.fit == "crop" and self.surveyed.hidden > MOST_HIDDEN:
            logger.warning(
                "%s, which validation never sees; --fit pad or squash shows them whole",
                self.surveyed.hidden_in_words,
            )

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
                others=self.sets.validation,
                seed=s.seed,
                advice=_ADVICE,
                skip_bad=s.bad_images != "stop",
                progress=image_progress(self.progress) if self.processes.first else None,
            )

    def plan(self) -> dict[str, Any]:
        """What the run would do and how long it would take; coarser tokens are timed."""
        self.load()
        if not self.quiet:
            self._survey()
        session = self._session(self.settings, None, 0)
        speed, epoch = self._pace(session)
        seconds = min(epoch * session.work, 3600 * (self.settings.hours or math.inf))
        times = {"images_per_second": speed, "epoch": epoch, "seconds": seconds}
        return {**self._plan(session), "time": times}

    def _pace(self, session: Session) -> tuple[float, float]:
        """Images a second, and seconds of an epoch of a session, from a few batches."""
        speed = self._images_per_second(session.cost.macs)
        # An image to validate with takes a forward pass, one to train on about three.
        images = session.steps * self.settings.batch_size + len(self.sets.validation) / 3
        return speed, images / speed

    def _images_per_second(self, macs: int) -> float:
        """Throughput of a few batches at the network's own tokens, of so many multiply-adds."""
        batch = timed_batch(self.settings, self.processes, macs) * self.processes.world
        whole: Any = {"accumulate": 1, "compile": False, "retokenize": "off"}
        probed = replace(self.settings, batch_size=batch, **whole)
        on_cpu = self.processes.device.type == "cpu"
        workers = 0 if on_cpu else self._workers  # which there take cores from the training
        return self._session(probed, None, 0).images_per_second(workers)

    @property
    def _workers(self) -> int:
        return self.workers_for(len(self.sets.train), self.settings.epochs)

    def _session(
        self, settings: TrainSettings, stored: Checkpoint | None, workers: int
    ) -> Session:
        """A session, a new one or from a checkpoint."""
        processes = self.processes
        ground = self.under if stored is None else stored.origin.ground
        sets = self.sets.on(ground)
        with torch.random.fork_rng([]):  # equal in every process
            torch.manual_seed(seed_for(settings.seed, "weights"))
            model = self.network.build(
                drop_path=settings.drop_path or None, drop=settings.drop or None
            )
            if settings.init == "xavier":
                draw_linear_weights(model)
        if stored is not None:
            origin = replace(stored.origin, settings=settings)
        else:
            if settings.weights is not None:
                load_pretrained(model, settings.weights, new_head=settings.new_head)
            stages = stages_of(settings, model, processes) if settings.staged else ()
            device = processes.device.type
            origin = Origin(
                settings,
                sets.provenance,
                sets.classes,
                device,
                stages,
                {**versions(), **self.code},
                self.normalisation or self._provisional,
                ground,
                self._teacher_digest,
            )
        if self.teacher is not None and origin.normalisation is not None:
            self.teacher.take(origin.normalisation)
        return Session(
            folder=self.folder,
            network=self.network,
            model=model,
            origin=origin,
            sets=sets,
            processes=processes,
            stored=stored,
            teacher=self.teacher,
            workers=workers,
            facts=self._facts(origin.normalisation, ground),
            checkpoint_minutes=self.checkpoint_minutes,
            log_every=self.log_every,
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
            interpolation=augmentation.interpolation,
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

    def _plan(self, session: Session) -> dict[str, Any]:
        """What ``--dry-run --json`` shows."""
        return {
            "folder": self.folder,
            "network": self.network,
            "params": session.cost.params,
            "macs": session.cost.macs,
            "images": {"train": len(self.sets.train), "validation": len(self.sets.validation)},
            "source": self.sets.provenance["source"],
            "pixels": str(self.sets.kind),
            "picture": self.sets.kind.picture,
            "transparent": self._transparent_in_words,
            "imbalance": imbalance(np.bincount(self.sets.train.labels)),
            "steps_per_epoch": session.steps,
            "stages": session.origin.stages,
            "saved": session.saved,
            "device": str(self.processes.device),
            "precision": resolve_precision(self.settings.precision, self.processes.device),
            "processes": self.processes.world,
            "settings": self.settings,
        }

"""Trainings: a network trained on labelled images, by one process or several."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from asvit._version import __version__
from asvit.core.console import clock, number
from asvit.core.progress import Tell, ignore, images_told
from asvit.core.run_files import (
    BEST,
    CHECKPOINT,
    METRICS_CSV,
    METRICS_JSONL,
    MODEL,
    PREDICTIONS,
    TRAINING_FIGURES,
    previous,
)
from asvit.core.settings import WrongOption, fields_of, setting
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart, Table
from asvit.core.versions import versions
from asvit.runs.folder import LOCK, RunFiles, seems_usable
from asvit.runs.run import imported
from asvit.runs.shared import SharedRun
from asvit.training.settings import TrainSettings
from proxies.messages import legible

if TYPE_CHECKING:
    from asvit.data import TrainingSets
    from asvit.networks import Network
    from asvit.training.checkpoint import Checkpoint, Saved
    from asvit.training.distillation import Teacher
    from asvit.training.result import TrainResult
    from asvit.training.session import Session

logger = logging.getLogger(__name__)

_TIMED_BATCH = 16  # images of a process, when the time of a training is estimated
_FEW = 2_000  # pictures, with fewer of which pretrained weights are the better start
_MADE = ("fractal", "digits")
_LEAST_UPDATES = 8  # of an epoch, where the recipe's batch is larger than all images


@dataclass(kw_only=True)
class TrainRun(SharedRun[TrainSettings, "TrainResult"]):
    """Train ARCH, an architecture or the folder of a run that ended in one, on labelled images.

    Given again, the same command continues a run that was stopped, or shows the result of a
    finished one. Several processes share the batches:
    accelerate launch -m asvit train ARCH ...
    """

    command = "train"
    files = RunFiles(
        "training",
        "training",
        CHECKPOINT,
        (METRICS_CSV, METRICS_JSONL, MODEL, BEST, PREDICTIONS, previous(CHECKPOINT)),
        figures=TRAINING_FIGURES,
    )
    result_type = imported("asvit.training.result:TrainResult")
    pictures = imported("asvit.report.training:pictures")  # imports matplotlib
    details = imported("asvit.report.training:details")
    written = "report.html, model.safetensors, best.safetensors, metrics.csv, result.json"
    may_change = ("bad_images",)  # they may be replaced from now on

    tensorboard: bool = setting(False, "Also write the epochs for TensorBoard.", repeats=False)
    resume: bool = setting(False, "Only continue; an error where there is no run.", repeats=False)
    asked: Mapping[str, Any] | None = None  # settings given, where the batch may follow the data
    opened: TrainingSets | None = None  # the images, where they are open already
    planned: Mapping[str, Any] | None = None

    @classmethod
    def make(cls, preset: str = "default", **given: Any) -> Self:
        """As the base does, and store what is asked for."""
        if given.get("fresh") and given.get("resume"):
            raise WrongOption("--fresh and --resume contradict each other; give one of them")
        if "batch_size" not in given:
            known = fields_of(TrainSettings)
            asked = {name: value for name, value in given.items() if name in known}
            given["asked"] = {**asked, "preset": preset}
        return super().make(preset, **given)

    def resolved(self) -> Self:
        """As the base does; where images are fewer than the recipe's batch, with a smaller one."""
        if self.asked is None:
            return self
        size = self._batch()
        given = {**self.asked, "architecture": self.settings.architecture, "batch_size": size}
        whole = replace(self, settings=TrainSettings.make(**given), asked=None)
        if "sets" in vars(self):  # which had to be opened to know how many there are
            return replace(whole, opened=self.sets, group=self.processes)
        return whole

    def _batch(self) -> int:
        """Images in a batch that nobody has named; a run that goes on takes as many as before."""
        from asvit.training.checkpoint import settings_in

        batch = self.settings.batch_size
        states = [self.folder / name for name in (CHECKPOINT, previous(CHECKPOINT))]
        begun = [] if self.fresh else [path for path in states if os.path.lexists(path)]
        if begun:
            stored = [one for one in map(settings_in, begun) if one is not None]
            return min(batch, stored[0].batch_size) if stored else batch
        if not seems_usable(self.folder, self.files, fresh=self.fresh):
            return batch
        self.check()
        images, size = len(self.sets.train), 4 * self.processes.world  # mixing takes pairs
        if batch <= images or images < size:
            return batch
        size = small_batch(images, size)
        if self.first():
            logger.warning(
                "%d images to train on are fewer than the usual batch of %d; going on with "
                "batches of %d and a learning rate for them (--batch-size takes another size)",
                *(images, batch, size),
            )
        return size

    @property
    def typed_values(self) -> Mapping[str, object]:
        """The recipe, and what it leaves to the user."""
        s, given = self.settings, super().typed_values
        return {"recipe": s.recipe, "epochs": s.epochs, "batch_size": s.batch_size, **given}

    @cached_property
    def sets(self) -> TrainingSets:
        """The images; the first process makes those that have to be made."""
        from asvit.data import open_training_sets

        chosen = self.settings
        if self.opened is not None:
            return self.opened
        with self.processes.first_before_others():
            return open_training_sets(
                chosen.data,
                validation=chosen.validation,
                held_out=chosen.held_out,
                image_size=chosen.image_size,
                seed=chosen.seed,
                train_images=chosen.train_images,
                validation_images=chosen.validation_images,
                classes=chosen.classes,
                progress=images_told(self.progress) if self.processes.first else None,
            )

    @cached_property
    def network(self) -> Network:
        """Settings of the network."""
        from asvit.networks import Network

        chosen = self.settings
        return Network(
            chosen.architecture,
            chosen.image_size,
            len(self.sets.classes),
            attention=chosen.attention,
            ffn=chosen.ffn,
            branches=chosen.branches,
        )

    @cached_property
    def teacher(self) -> Teacher | None:
        """The teacher with its weights, if there is one."""
        from asvit.training.distillation import load_teacher

        return load_teacher(self.settings, self.sets.classes)

    @cached_property
    def fresh_weights(self) -> Sequence[str]:
        """Names of those that a file to start from lacks; it is not read once training began."""
        from asvit.training.pretrained import load_pretrained

        chosen, states = self.settings, (CHECKPOINT, previous(CHECKPOINT))
        begun = not self.fresh and any((self.folder / name).exists() for name in states)
        if chosen.weights is None or begun:
            return ()
        return load_pretrained(self.network.build(), chosen.weights, new_head=chosen.new_head)

    def default_name(self) -> str:
        """Named after the architecture, the image size and the seed."""
        return self.named(self.settings.architecture)

    @property
    def title(self) -> str:
        """What is about to be trained, on what and how."""
        return super().title if self.planned is None else "\n".join(plan_lines(self.planned))

    def check(self) -> None:
        """Find device and libraries, and the run to resume."""
        _ = self.processes
        # A run that was stopped in its first epoch has but claimed its folder.
        if self.resume and not any((self.folder / n).exists() for n in (CHECKPOINT, LOCK)):
            raise FileNotFoundError(
                f"no training to go on with in {self.folder}; leave out --resume to start one"
            )

    def load(self) -> Mapping[str, Any]:
        """Images, with teacher and weights to start from, and the kind of device."""
        _ = self.sets, self.teacher, self.fresh_weights
        return {"images": self.sets.provenance, "device": self.processes.device.type}

    def settled(self, store: Saved[Checkpoint], result: TrainResult) -> bool:
        """Whether every epoch is done and the network is written."""
        return store.finished and (self.folder / MODEL).exists()

    def execute(self, store: Saved[Checkpoint], tell: Tell) -> TrainResult:
        """Train to the last epoch."""
        if store.file is None and self.settings.bad_images == "stop":
            self._check_images()
        session = self._session(self.settings, store.file, self.workers_for(len(self.sets.train)))
        self.planned = self._plan(session)
        session.run(tell if self.processes.first else ignore, tensorboard=self.tensorboard)
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
            next_command=shlex.join(
                ["asvit", "export", "--weights", str(self.folder), "--to", "onnx"]
            ),
        )

    def _check_images(self) -> None:
        """Read the headers of all images, rather than meet bad ones in the middle of an epoch."""
        from asvit.data.headers import refuse_unreadable, unreadable_images

        parts = (self.sets.train, self.sets.validation)
        bad: dict[str, str] = {}
        if self.processes.first:
            for part in parts:
                bad |= unreadable_images(part, progress=images_told(self.progress))
        bad = self.processes.gather(bad)[0]
        refuse_unreadable(bad, sum(map(len, parts)), ", or give --bad-images replace")

    def plan(self) -> dict[str, Any]:
        """What the run would do and how long it would take; coarser tokens are timed."""
        self.load()
        session = self._session(self.settings, None, 0)
        speed = self._images_per_second()
        # An image to validate with takes a forward pass, one to train on about three.
        images = session.steps * self.settings.batch_size + len(self.sets.validation) / 3
        epoch = images / speed
        times = {"images_per_second": speed, "epoch": epoch, "seconds": epoch * session.work}
        return {**self._plan(session), "time": times}

    def _images_per_second(self) -> float:
        """Throughput of a few small batches at the network's own tokens."""
        batch = min(self.settings.batch_size, _TIMED_BATCH * self.processes.world)
        whole: Any = {"accumulate": 1, "compile": False, "retokenize": "off"}
        probed = replace(self.settings, batch_size=batch, **whole)
        return self._session(probed, None, 0).images_per_second()

    def _session(self, chosen: TrainSettings, stored: Checkpoint | None, workers: int) -> Session:
        """A session that continues from a checkpoint."""
        import torch

        from asvit.training.checkpoint import Origin
        from asvit.training.pretrained import load_pretrained
        from asvit.training.session import Session
        from asvit.training.token_costs import stages_of
        from proxies.evaluation import seed_for

        sets, processes = self.sets, self.processes
        with torch.random.fork_rng([]):  # equal in every process
            torch.manual_seed(seed_for(chosen.seed, "weights"))
            model = self.network.build(
                drop_path=chosen.drop_path or None, drop=chosen.drop or None
            )
        if stored is not None:
            origin = replace(stored.origin, settings=chosen)
        else:
            if chosen.weights is not None:
                load_pretrained(model, chosen.weights, new_head=chosen.new_head)
            stages = stages_of(chosen, model, processes) if chosen.staged else ()
            device = processes.device.type
            origin = Origin(chosen, sets.provenance, sets.classes, device, stages, versions())
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
            facts=self._facts(),
        )

    def _facts(self) -> dict[str, Any]:
        """Facts to store with the weights."""
        from asvit.data import MEAN, STD

        augmentation = self.settings.augmentation
        return {
            "mean": MEAN,
            "std": STD,
            "interpolation": augmentation.interpolation,
            "crop_pct": augmentation.crop_pct,
            "recipe": self.settings.recipe,
            "epochs": self.settings.epochs,
            "images": self.sets.provenance["source"],
            "found_by": self.found_by,
            "asvit": __version__,
        }

    def _plan(self, session: Session) -> dict[str, Any]:
        """What ``--dry-run --json`` shows."""
        return {
            "folder": self.folder,
            "network": self.network,
            "params": session.cost.params,
            "macs": session.cost.macs,
            "images": {"train": len(self.sets.train), "validation": len(self.sets.validation)},
            "source": self.sets.provenance["source"],
            "steps_per_epoch": session.steps,
            "stages": session.origin.stages,
            "saved": session.saved,
            "device": str(self.processes.device),
            "processes": self.processes.world,
            "settings": self.settings,
        }

    @classmethod
    def summary(cls, result: TrainResult) -> Iterator[SummaryPart]:
        """The best and the last epoch, and the stages of tokens."""
        from asvit.training.metrics import TOP

        columns = ["train loss", "loss", "top-1", "top-5", "top-1 (EMA)", "images/s"]
        values = ["train_loss", "loss", "top1", "top5", "average_top1", "images_per_second"]
        if result.network.num_classes <= TOP:
            del columns[3], values[3]
        best = [] if result.best is None else [("best", result.best)]
        rows = [
            [f"{name} ({row.epoch})", *(getattr(row, value) for value in values)]
            for name, row in (*best, ("last", result.last))
        ]
        yield Table(["epoch", *columns], rows, "On the validation images, per cent")
        network = result.network
        yield (
            f"{network.architecture}: {result.params:,} params, {result.macs:,} multiply-adds at "
            f"{network.image_size} px, {network.num_classes} classes"
        )
        for name, times in result.bad_images.items():
            yield legible(f"could not be read and was replaced {times} times: {name}")
        yield f"{len(result.history)} epochs in {clock(result.wall_seconds)}"
        if result.saved is not None:
            yield _tokens(result.stages)
            yield (
                f"coarser tokens saved {result.saved['macs']:.1%} of the multiply-adds of the "
                f"training and about {result.saved['time']:.1%} of its time"
            )


def _tokens(stages: Sequence[Mapping[str, Any]]) -> Table:
    """The stages of tokens with their costs."""
    columns = ["tokens", "epochs", "multiply-adds", "of full (%)", "ms an image"]
    rows = [
        [
            f"({stage['stride']},{stage['dilation']})",
            *(stage["epochs"], stage["macs"], 100 * stage["fraction"]),
            *(1000 * stage["seconds"], 100 * stage["time_fraction"]),
        ]
        for stage in stages
    ]
    return Table([*columns, "of full time (%)"], rows, "Tokens")


def small_batch(images: int, size: int = 4) -> int:
    """Images in a batch for so few: ``size`` doubled as long as an epoch has updates enough."""
    while 2 * size * _LEAST_UPDATES <= images:
        size *= 2
    return size


def few_told(pictures: int) -> list[str]:
    """A word where there are so few pictures that a training from scratch is second to another."""
    if pictures >= _FEW:
        return []
    return [
        f"{pictures:,} pictures are few to train on from scratch; fine-tuning pretrained weights "
        "does better (asvit train ARCH --weights FILE --new-head --recipe finetune)"
    ]


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """What is going to be trained, on what and how; and what coarser tokens cost and save."""
    s: TrainSettings = plan["settings"]
    network, images, saved = plan["network"], plan["images"], plan["saved"]
    parts = [word for word in (s.attention and f"{s.attention} attention", s.ffn) if word]
    made = f" with {' and '.join(parts)}" if parts else ""
    where, processes = plan["device"], plan["processes"]
    source = plan["source"].partition("; ")[0]  # how many of them is told below
    where = where if processes == 1 else f"{processes} processes, {where}"
    lines = [
        f"training {network.architecture}{made}: {plan['params']:,} params, "
        f"{plan['macs']:,} multiply-adds at {s.image_size} px, {network.num_classes} classes",
        f"images: {source}: {images['train']:,} for training, {images['validation']:,} for "
        "validation",
        f"recipe {s.recipe}: {s.epochs} epochs of {plan['steps_per_epoch']} updates with "
        f"{s.batch_size} images, {s.optimizer}, learning rate {s.learning_rate:g}, weight decay "
        f"{s.weight_decay:g}, warm-up {s.warmup_epochs} epoch(s); {where}, {s.precision}, "
        f"seed {s.seed}",
    ]
    lines += [
        f"tokens ({stage['stride']},{stage['dilation']}): {stage['epochs']} epoch(s), "
        f"{stage['macs']:,} multiply-adds an image ({stage['fraction']:.1%} of full, published "
        f"{stage['published_fraction']:.1%}), {number(1000 * stage['seconds'])} ms an image "
        f"({stage['time_fraction']:.1%} of full)"
        for stage in plan["stages"]
    ]
    if saved is not None:
        lines.append(
            f"coarser tokens save {saved['macs']:.1%} of the multiply-adds and about "
            f"{saved['time']:.1%} of the time; at the published costs they would save "
            f"{saved['published']:.1%} of the multiply-adds"
        )
    if s.weights is None and s.teacher is None and s.data.partition(":")[0] not in _MADE:
        lines += few_told(images["train"])
    if (times := plan.get("time")) is not None:
        speed = number(times["images_per_second"])
        lines.append(
            f"time: about {clock(times['seconds'])}, {clock(times['epoch'])} an epoch at the "
            f"network's own tokens; from a few small batches, {speed} images/s with images "
            "prepared in this process"
        )
    return lines


@with_options(TrainSettings, TrainRun, CallOptions)
def run_training(architecture: str, **given: Any) -> TrainResult:
    """Train a network on labelled images; the same call continues a run that was stopped.

    The run folder holds ``checkpoint.safetensors`` (the state after the last epoch),
    ``best.safetensors`` and ``model.safetensors`` (the network of the best and of the last epoch,
    as :class:`asvit.networks.WeightsFile`), ``metrics.csv``, ``metrics.jsonl`` and
    ``result.json``. After a stop at most an epoch is trained again; the weights are the same on a
    CPU.

    Started in several processes by ``accelerate launch`` or ``torchrun`` they share every batch;
    the run folder must be on a disk that all of them see. The first one writes and tells.

    Args:
        architecture: Text of any space or family, ``"timm:NAME"``, or the folder of a search, a
            scaling or another run that ended in an architecture.

    Raises:
        ValueError: If weights do not suit, or the loss is not finite, too.
        ImportError: If a library is missing.

    Example:
        >>> result = asvit.run_training(
        ...     "8,2,3|4,1,2|4,1,4|4,1,6|32", image_size=32, classes=2, train_images=20,
        ...     validation_images=10, epochs=1, batch_size=10, out="training",
        ... )
        >>> len(result.history)
        1
    """
    return TrainRun.make(architecture=architecture, **given).run()

"""What a training is asked to do, with everything that it takes: the network and the images."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asvit._version import __version__
from asvit.data import MEAN, STD, TrainingSets
from asvit.networks import Network
from asvit.runs.provenance import versions
from asvit.runs.training.plan import TrainPlan
from asvit.runs.training.result import TrainResult
from asvit.runs.training.session import Session
from asvit.runs.training.source import Found
from asvit.runs.training.teacher import find_teacher
from asvit.settings import check_same_device, check_same_images
from asvit.training.checkpoint import Checkpoint, Origin
from asvit.training.distributed import ProcessGroup
from asvit.training.pretrained import load_pretrained
from asvit.training.settings import TrainSettings
from asvit.training.token_costs import measure_stages
from asvit.training.token_plan import PUBLISHED_FRACTIONS, saved
from proxies.evaluation import seed_for

_TIMED_BATCH = 16  # images of the steps that tell what a stage of tokens costs


@dataclass(frozen=True)
class Asked:
    """What is to be trained on what, with whom.

    Attributes:
        folder: Run folder.
        found: The architecture, and where it comes from.
        settings: Settings of the training.
        sets: The images.
        processes: Those that train together.
    """

    folder: Path
    found: Found
    settings: TrainSettings
    sets: TrainingSets
    processes: ProcessGroup

    @cached_property
    def network(self) -> Network:
        """What builds the network."""
        settings = self.settings
        return Network(
            settings.architecture,
            settings.image_size,
            len(self.sets.classes),
            attention=settings.attention,
            ffn=settings.ffn,
            branches=settings.branches,
        )

    def session(self, stored: Checkpoint | None, workers: int) -> Session:
        """A session that goes on from ``stored``.

        Raises:
            ValueError: If that was on another device or other images, or weights do not suit.
            OSError: If weights cannot be found.
        """
        settings, device = self.settings, self.processes.device
        if stored is not None:
            check_same_device(self.folder, stored.origin.device, device.type)
            check_same_images(self.folder, stored.origin.images, self.sets.provenance)
        model = self._fresh()
        if stored is None and settings.weights is not None:
            load_pretrained(model, settings.weights, new_head=settings.new_head)
        teacher = find_teacher(settings, self.sets.classes)
        origin = self._origin(model) if stored is None else stored.origin
        return Session(
            self.folder,
            self.network,
            model,
            origin,
            self.sets,
            self.processes,
            stored=stored,
            teacher=teacher,
            workers=workers,
            facts=self._facts,
        )

    def plan(self, session: Session) -> TrainPlan:
        """What the session is going to do."""
        return TrainPlan(
            folder=self.folder,
            network=self.network,
            cost=session.cost,
            settings=self.settings,
            images=(len(self.sets.train), len(self.sets.validation)),
            source=self.sets.provenance["source"],
            steps=session.steps,
            stages=session.origin.stages,
            saved=self._saved(session),
            device=str(self.processes.device),
            processes=self.processes.world,
        )

    def result(self, session: Session, command: str) -> TrainResult:
        """What the session has come to, when every epoch is done."""
        return TrainResult(
            folder=self.folder,
            network=self.network,
            params=session.cost.params,
            macs=session.cost.macs,
            history=session.history,
            best=session.best,
            stages=session.origin.stages,
            saved=self._saved(session),
            bad_images=session.bad_images,
            wall_seconds=session.seconds,
            settings=self.settings,
            provenance={
                "found_by": self.found.by,
                "images": dict(self.sets.provenance),
                "device": session.origin.device,
                "processes": self.processes.world,
                "versions": versions(),
                "command": command,
            },
            next_command=shlex.join(
                ["asvit", "export", "--weights", str(self.folder), "--to", "onnx"]
            ),
        )

    def _fresh(self) -> nn.Module:
        """The network with initial weights, the same for a seed in every process."""
        settings = self.settings
        with torch.random.fork_rng([]):
            torch.manual_seed(seed_for(settings.seed, "weights"))
            return self.network.build(
                drop_path=settings.drop_path or None, drop=settings.drop or None
            )

    def _origin(self, model: nn.Module) -> Origin:
        """What is kept of how the training began."""
        processes = self.processes
        stages = self._stages(model) if self.settings.staged else ()
        return Origin(
            self.settings,
            self.sets.provenance,
            self.sets.classes,
            processes.device.type,
            stages,
        )

    def _stages(self, model: nn.Module) -> tuple[dict[str, Any], ...]:
        """Epochs and cost of each stage of tokens, beside the published cost."""
        settings, processes = self.settings, self.processes
        stages: tuple[dict[str, Any], ...] = ()
        if processes.first:  # alone, so that the processes do not slow each other down
            costs = measure_stages(
                model.to(processes.device),
                settings.image_size,
                batch_size=max(2, min(_TIMED_BATCH, settings.batch_size // processes.world)),
                precision=torch.bfloat16 if settings.precision == "bf16" else None,
            )
            stages = tuple(
                {"epochs": epochs, **cost.to_json(), "published_fraction": published}
                for epochs, cost, published in zip(
                    settings.plan.epochs, costs, PUBLISHED_FRACTIONS, strict=True
                )
            )
        return tuple(processes.gather(stages)[0])

    def _saved(self, session: Session) -> dict[str, float] | None:
        """Shares of a training's cost that coarser tokens save, by different counts."""
        stages, plan = session.origin.stages, self.settings.plan
        if not stages:
            return None
        counts = {"macs": "fraction", "time": "time_fraction", "published": "published_fraction"}
        return {
            name: saved(plan, [float(stage[key]) for stage in stages])
            for name, key in counts.items()
        }

    @property
    def _facts(self) -> dict[str, Any]:
        """What to keep with the weights."""
        varied = self.settings.augmentation
        return {
            "mean": MEAN,
            "std": STD,
            "interpolation": varied.interpolation,
            "crop_pct": varied.crop_pct,
            "recipe": self.settings.recipe,
            "epochs": self.settings.epochs,
            "images": self.sets.provenance["source"],
            "found_by": self.found.by,
            "asvit": __version__,
        }

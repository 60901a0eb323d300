"""Training a supernet."""

from __future__ import annotations

import shlex
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock
from asvit.core.files import write_text
from asvit.core.progress import Tell, images_told
from asvit.core.run_files import LOSSES, SUPERNET_FIGURES, SUPERNET_WEIGHTS, previous
from asvit.core.settings import setting
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart
from asvit.core.versions import versions
from asvit.runs.folder import RunFiles
from asvit.runs.run import Run, imported
from asvit.training.supernets.settings import PathAccuracies, SupernetResult, SupernetSettings

if TYPE_CHECKING:
    import torch

    from asvit.models.psvit_supernet import PSViTSupernet
    from asvit.search.supernet_space import SupernetSpace
    from asvit.training.checkpoint import Saved
    from asvit.training.supernets.file import SupernetFile
    from asvit.training.supernets.single_path import SupernetTraining
    from asvit.training.supernets.splits import Splits

EVALUATED_PATHS = 20  # random ones, whose accuracies tell how far training has come


@dataclass(kw_only=True)
class SupernetRun(Run[SupernetSettings, SupernetResult, "Saved[SupernetFile]"]):
    """Train the supernet of a space: every batch trains one path drawn at random.

    Given again, the same command continues a run that was stopped, or shows the result of a
    finished one.
    """

    command = "supernet train"
    files = RunFiles(
        "supernet",
        "supernet",
        SUPERNET_WEIGHTS,
        (LOSSES, previous(SUPERNET_WEIGHTS)),
        figures=SUPERNET_FIGURES,
    )
    pictures = imported("asvit.report.training:supernet_pictures")  # imports matplotlib
    written = "report.html, supernet.safetensors, losses.csv, result.json"

    device: str = setting(
        "auto", "auto, cpu, cuda, cuda:1, mps, ...", metavar="DEVICE", repeats=False
    )

    def default_name(self) -> str:
        """Named after the space, the image size and the seed."""
        s = self.settings
        return f"supernet-{s.space}-{s.image_size}px-seed{s.seed}"

    @property
    def title(self) -> str:
        """What is about to be trained, and how."""
        s = self.settings
        return (
            f"training the supernet of {s.space}: {s.epochs} epochs of {s.train_images} images in "
            f"batches of {s.batch_size}, {s.images}, {s.image_size} px, width {s.width}, seed "
            f"{s.seed}"
        )

    @cached_property
    def space(self) -> SupernetSpace:
        """The space of the supernet."""
        from asvit.search.supernet_space import SupernetSpace

        return SupernetSpace(self.settings)

    @cached_property
    def where(self) -> torch.device:
        """The device to train on."""
        from proxies.evaluation import resolve_device

        return resolve_device(self.device)

    @cached_property
    def parts(self) -> Splits:
        """The images."""
        from asvit.training.supernets.splits import load_splits

        return load_splits(self.settings, progress=images_told(self.progress)).to(self.where)

    def check(self) -> None:
        """Find the space and the device."""
        _ = self.space, self.where

    def load(self) -> Mapping[str, Any]:
        """Images and the kind of device."""
        return {"images": self.parts.provenance, "device": self.where.type}

    def open(self) -> Saved[SupernetFile]:
        """The weights so far."""
        from asvit.training.checkpoint import Saved, read_or_restore
        from asvit.training.supernets.file import SupernetFile

        return Saved(read_or_restore(self.folder / SUPERNET_WEIGHTS, SupernetFile.read))

    def settled(self, store: Saved[SupernetFile], result: SupernetResult) -> bool:
        """Whether all steps are done."""
        return store.finished and super().settled(store, result)

    def execute(self, store: Saved[SupernetFile], tell: Tell) -> SupernetResult:
        """Train to the end; save at the end of every epoch, and within long ones."""
        from asvit.training.checkpoint import check_finite
        from asvit.training.supernets.file import Origin, SupernetFile
        from asvit.training.supernets.single_path import SupernetTraining

        begun = store.file
        chosen, parts, space = self.settings, self.parts, self.space
        kept = versions() if begun is None else begun.origin.versions
        origin = Origin(chosen, parts.provenance, parts.classes, self.where.type, kept)
        before, began = 0.0 if begun is None else begun.seconds, time.monotonic()
        supernet = space.build(origin.num_classes, seed=chosen.seed).to(self.where)
        training: SupernetTraining[tuple[str, ...]] = SupernetTraining(
            supernet, parts.train, chosen.recipe, draw=space.draw, seed=chosen.seed
        )

        def save() -> None:
            # With infinite or NaN weights the loss of the next step would say so; it may not come.
            rate, steps = chosen.learning_rate, len(training.losses)
            what = f"at learning rate {rate:g} and after step {steps} the supernet's weights"
            check_finite(supernet.state_dict(), what=what)
            file = SupernetFile(origin, before + time.monotonic() - began, training.state())
            file.write(self.folder / SUPERNET_WEIGHTS)
            self._write_losses(training)

        if begun is None:
            save()  # so that the folder tells what is trained in it
        else:
            training.load_state(begun.state)
        training.run(save, progress=tell)
        losses = self._write_losses(training)  # a kill may have left them behind the weights
        accuracy = self._random_paths(supernet)
        return self.result(
            store,
            {"images": origin.images, "device": origin.device},
            losses=[round(loss, 6) for loss in losses],
            num_classes=origin.num_classes,
            accuracy=accuracy,
            params=sum(p.numel() for p in supernet.parameters()),
            wall_seconds=before + time.monotonic() - began,
            next_command=shlex.join(["asvit", "supernet", "evolve", str(self.folder)]),
        )

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
        import numpy as np

        from proxies.evaluation import seed_for

        space, images = self.space, self.parts.validation
        rng = np.random.default_rng(seed_for(self.settings.seed, "looked at"))
        paths = (space.draw(rng) for _ in range(EVALUATED_PATHS))
        return PathAccuracies.of([space.accuracy(supernet, path, images) for path in paths])

    @classmethod
    def summary(cls, result: SupernetResult) -> Iterator[SummaryPart]:
        """The loss, and random paths."""
        found, losses = result.accuracy, result.losses
        yield {
            "space": result.settings.space,
            "parameters": result.params,
            "loss, first epoch to last": f"{losses[0]:.3f} to {losses[-1]:.3f} nats",
            f"accuracy of {found.paths} random paths on the validation images": (
                f"{found.lowest:.1f} to {found.highest:.1f} %, median {found.median:.1f}"
            ),
            "chance": f"{100 / result.num_classes:.1f} %",
        }
        yield f"trained in {clock(result.wall_seconds)}"


@with_options(SupernetSettings, SupernetRun, CallOptions)
def train_supernet(**given: Any) -> SupernetResult:
    """Train the supernet of a space, one path at a time; the same call continues a run.

    The run folder holds ``supernet.safetensors`` (weights, and the optimiser's state while it is
    unfinished), ``losses.csv`` and ``result.json``. After a stop at most an epoch is trained
    again, and of a long one at most a minute; the weights are the same on a CPU.

    Raises:
        ValueError: If the loss is not finite, too.

    Example:
        >>> result = asvit.train_supernet(
        ...     train_images=60, validation_images=40, test_images=40, image_size=32, width=24,
        ...     epochs=1, batch_size=30, out="supernet",
        ... )
        >>> len(result.losses)
        1
    """
    return SupernetRun.make(**given).run()

"""A supernet from its settings to a run folder with its weights: trained, continued, finished."""

from __future__ import annotations

import shlex
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from asvit._files import write_text
from asvit._run_files import LOSSES, RESULT, SUPERNET_WEIGHTS
from asvit.runs.folder import SUPERNET, check_folder, claimed, named_folder
from asvit.runs.provenance import changed_options, versions
from asvit.runs.supernets.host import Host
from asvit.runs.supernets.result import Spread, SupernetResult
from asvit.settings import check_same_device, check_same_images, check_same_settings
from asvit.training.state import check_finite
from asvit.training.supernets.file import Origin, SupernetFile
from asvit.training.supernets.settings import SupernetSettings, make_settings
from asvit.training.supernets.single_path import SupernetEvent, SupernetTraining
from asvit.training.supernets.splits import Splits, load_splits
from proxies.evaluation import resolve_device, seed_for

LOOKED_AT = 20  # random paths whose accuracies tell how far training has come


def train_supernet(
    *,
    out: Path | str | None = None,
    device: str = "auto",
    progress: Callable[[SupernetEvent], None] | None = None,
    image_progress: Callable[[int, int], None] | None = None,
    fresh: bool = False,
    preset: str = "default",
    **settings: Any,
) -> SupernetResult:
    """Train the supernet of a space, one path at a time; the same call continues a run.

    The run folder holds ``supernet.safetensors`` (weights, and the optimiser's state while it is
    unfinished), ``losses.csv`` and ``result.json``. Stopped at any point, even by ``kill -9``,
    the run continues to the identical weights on a CPU; at most an epoch is trained again, and
    of a long one at most a minute.

    Args:
        out: Run folder; ``runs/supernet-SPACE-SIZEpx-seedN`` by default.
        device: Where to train: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        progress: Called after each step.
        image_progress: Called as images are made or read, with how many are ready, and how many
            there will be.
        fresh: Start over: the folder's earlier run is removed, other files in it are not.
        preset: Name of a set of settings; see
            :data:`asvit.training.supernets.settings.PRESETS`.
        **settings: Fields of :class:`asvit.training.supernets.settings.SupernetSettings`, on top
            of the preset's.

    Returns:
        The result, as in result.json.

    Raises:
        ValueError: If a setting is not allowed, the images do not suit, the loss is not finite, or
            the folder's run has other settings or is in use.
        OSError: If the folder cannot be written or images cannot be found.
        TypeError: If there is no such setting.
    """
    wanted = make_settings(preset, **settings)
    host = Host(wanted)
    where = resolve_device(device)
    folder = default_folder(wanted) if out is None else Path(out)
    check_folder(folder, SUPERNET, fresh=fresh)
    parts = None
    if fresh or not (folder / SUPERNET_WEIGHTS).exists():
        # May fail, so before anything is made or removed.
        parts = load_splits(wanted, progress=image_progress)
    with claimed(folder, SUPERNET, fresh=fresh):
        stored = _open(folder, wanted)
        result = _finished(folder, stored)
        if result is None:
            parts = (parts or load_splits(wanted, progress=image_progress)).to(where)
            if stored is not None:
                check_same_device(folder, stored.origin.device, where.type)
                check_same_images(folder, stored.origin.images, parts.provenance)
            origin = Origin(wanted, parts.provenance, parts.classes, where.type)
            session = _Session(folder, host, origin, parts, stored)
            session.run(progress)
            result = session.result(_command(wanted, out))
            result.write(folder / RESULT)
    return result


def default_folder(settings: SupernetSettings) -> Path:
    """Where a supernet with these settings is trained unless another folder is named."""
    name = f"supernet-{settings.space}-{settings.image_size}px-seed{settings.seed}"
    return named_folder(name)


class _Session:
    """One session of a training, from what earlier ones have left to its end."""

    def __init__(
        self,
        folder: Path,
        host: Host,
        origin: Origin,
        parts: Splits,
        stored: SupernetFile | None,
    ) -> None:
        self._folder = folder
        self._host = host
        self._origin = origin
        self._parts = parts
        self._before = 0.0 if stored is None else stored.seconds
        self._began = time.monotonic()
        settings = origin.settings
        self.supernet = host.build(origin.num_classes, seed=settings.seed)
        self.supernet.to(parts.train[0].device)
        self._training = SupernetTraining(
            self.supernet,
            parts.train,
            settings.recipe,
            draw=host.draw,
            seed=settings.seed,
        )
        if stored is None:
            self._save()  # so that the folder tells what is trained in it
        else:
            self._training.load_state(stored.state)

    def run(self, progress: Callable[[SupernetEvent], None] | None) -> None:
        """Train to the end, and save at the end of every epoch and within long ones."""
        self._training.run(self._save, progress=progress)

    def result(self, command: str) -> SupernetResult:
        """The result, when every step is done."""
        self._write_losses()  # a kill may have left them behind the weights
        return SupernetResult(
            folder=self._folder,
            losses=self._epoch_losses(),
            num_classes=self._origin.num_classes,
            accuracy=Spread.of(self._random_accuracies()),
            params=sum(p.numel() for p in self.supernet.parameters()),
            wall_seconds=self._seconds,
            settings=self._origin.settings,
            provenance={
                "images": dict(self._origin.images),
                "device": self._origin.device,
                "versions": versions(),
                "command": command,
            },
            next_command=shlex.join(["asvit", "supernet", "evolve", str(self._folder)]),
        )

    @property
    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def _save(self) -> None:
        """Write what there is.

        Raises:
            ValueError: If the last step left weights that are infinite or NaN: the loss of the
                next one would say so, which may not come.
            OSError: If it cannot be written.
        """
        rate = self._origin.settings.learning_rate
        steps = len(self._training.losses)
        what = f"at learning rate {rate:g} and after step {steps} the supernet's weights"
        check_finite(self.supernet.state_dict(), what=what)
        file = SupernetFile(self._origin, self._seconds, self._training.state())
        file.write(self._folder / SUPERNET_WEIGHTS)
        self._write_losses()

    def _write_losses(self) -> None:
        lines = ["epoch,loss", *(f"{at},{x:.6g}" for at, x in enumerate(self._epoch_losses(), 1))]
        write_text(self._folder / LOSSES, "\n".join(lines) + "\n")

    def _epoch_losses(self) -> list[float]:
        """Mean loss of every whole epoch so far, nats."""
        each, losses = self._training.steps_per_epoch, self._training.losses
        return [
            statistics.fmean(losses[start : start + each])
            for start in range(0, len(losses) - each + 1, each)
        ]

    def _random_accuracies(self) -> list[float]:
        """Accuracies of paths drawn as training draws them, on the validation images."""
        seed = seed_for(self._origin.settings.seed, "looked at")
        rng = np.random.default_rng(seed)
        return [
            self._host.accuracy(self.supernet, self._host.draw(rng), self._parts.validation)
            for _ in range(LOOKED_AT)
        ]


def _open(folder: Path, wanted: SupernetSettings) -> SupernetFile | None:
    """What the run in ``folder`` has come to, if it is this run; None if there is none.

    Raises:
        ValueError: If the folder holds another kind of run, or this one with other settings.
    """
    path = folder / SUPERNET_WEIGHTS
    if not path.exists():
        return None
    stored = SupernetFile.read(path)
    check_same_settings(folder, stored.origin.settings, wanted)
    return stored


def _finished(folder: Path, stored: SupernetFile | None) -> SupernetResult | None:
    """The result in ``folder`` if all is done."""
    if stored is None or not stored.finished:
        return None
    try:
        return SupernetResult.read(folder / RESULT)
    except (FileNotFoundError, ValueError):
        return None  # it follows from the weights and is written again


def _command(settings: SupernetSettings, out: Path | str | None) -> str:
    """The command line that gives this run."""
    words = changed_options(settings, SupernetSettings())
    words = [word for word in words if word != str(True)]  # --flip alone says it
    if out is not None:
        words += ["--out", str(out)]
    return shlex.join(["asvit", "supernet", "train", *words])

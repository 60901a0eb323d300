"""A training from its settings to a run folder with the network: trained, continued, finished."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from asvit._run_files import CHECKPOINT, METRICS_CSV, MODEL, RESULT
from asvit.data import TrainingSets, open_training_sets
from asvit.runs.folder import TRAINING, check_folder, claimed, named_folder
from asvit.runs.provenance import changed_options
from asvit.runs.training.asked import Asked
from asvit.runs.training.plan import TrainPlan
from asvit.runs.training.result import TrainResult
from asvit.runs.training.session import Progress
from asvit.runs.training.source import find_architecture
from asvit.settings import check_same_settings
from asvit.training.checkpoint import Checkpoint
from asvit.training.distributed import ProcessGroup
from asvit.training.settings import TrainSettings, make_settings

MOST_WORKERS = 8
FEW_IMAGES = 2000  # for fewer, worker processes cost more than they save


def run_training(
    architecture: str,
    *,
    out: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
    tensorboard: bool = False,
    planned: Callable[[TrainPlan], None] | None = None,
    progress: Progress | None = None,
    image_progress: Callable[[int, int], None] | None = None,
    fresh: bool = False,
    resume: bool = False,
    preset: str = "default",
    **settings: Any,
) -> TrainResult:
    """Train a network on labelled images; the same call continues a run that was stopped.

    The run folder holds ``checkpoint.safetensors`` (everything after the last epoch),
    ``best.safetensors`` and ``model.safetensors`` (the network of the best and of the last epoch,
    as :class:`asvit.networks.WeightsFile`), ``metrics.csv``, ``metrics.jsonl`` and
    ``result.json``. Stopped at any point, even by ``kill -9``, the run continues to the identical
    weights on a CPU; at most an epoch is trained again.

    Started in several processes by ``accelerate launch`` or ``torchrun`` they share every batch;
    the run folder must be on a disk that all of them see. The first one writes and tells.

    Args:
        architecture: Text of any space or family, ``"timm:NAME"``, or the folder of a search, a
            scaling or another run that ended in an architecture.
        out: Run folder; ``runs/train-ARCHITECTURE-SIZEpx-seedN`` by default.
        device: Where to train: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        workers: Processes that read and vary images beside each training process; by default as
            many as there are cores for it, at most 8, and none for fewer than 2,000 images.
        tensorboard: Also write the epochs for TensorBoard.
        planned: Called with what is going to be done, before the first step of a session.
        progress: Called now and then, and at the end of every epoch.
        image_progress: Called as fractals are made, with how many are ready, and how many there
            will be.
        fresh: Start over: the folder's earlier run is removed, other files in it are not.
        resume: Only go on with a run; without it, one is started where there is none.
        preset: Name of a set of settings; see :data:`asvit.training.recipes.PRESETS`.
        **settings: Fields of :class:`asvit.training.settings.TrainSettings`, on top of the
            preset's and its recipe's.

    Returns:
        The result, as in result.json.

    Raises:
        ValueError: If a setting is not allowed, images or weights do not suit, the loss is not
            finite, or the folder's run has other settings or images or is in use.
        OSError: If the folder cannot be written, or images or weights cannot be found.
        ImportError: If a library is missing.
        TypeError: If there is no such setting.
    """
    found = find_architecture(architecture)
    wanted = make_settings(preset, architecture=found.architecture, **settings)
    processes = ProcessGroup(device)
    folder = default_folder(wanted) if out is None else Path(out)
    if resume:
        _check_begun(folder)
    check_folder(folder, TRAINING, fresh=fresh)
    sets = None
    if fresh or not (folder / CHECKPOINT).exists():
        # May fail, so before anything is made or removed.
        sets = _open_sets(wanted, processes, image_progress)
    with _claimed(folder, processes, fresh=fresh):
        stored = _open(folder, wanted)
        result = _finished(folder, stored)
        if result is None:
            sets = sets or _open_sets(wanted, processes, image_progress)
            asked = Asked(folder, found, wanted, sets, processes)
            session = asked.session(stored, _workers(workers, len(sets.train), processes))
            if planned is not None and processes.first:
                planned(asked.plan(session))
            session.run(progress if processes.first else None, tensorboard=tensorboard)
            result = asked.result(session, _command(wanted, architecture, out))
            if processes.first:
                session.finish()
                result.write(folder / RESULT)
        processes.wait()
    return result


def plan_training(
    architecture: str,
    *,
    out: Path | str | None = None,
    device: str = "auto",
    image_progress: Callable[[int, int], None] | None = None,
    preset: str = "default",
    **settings: Any,
) -> TrainPlan:
    """What :func:`run_training` with the same arguments would do, worked out without training.

    Coarser tokens are timed; nothing is written but images that have to be made.

    Raises:
        ValueError: As there.
        OSError: As there.
        ImportError: As there.
        TypeError: As there.
    """
    found = find_architecture(architecture)
    wanted = make_settings(preset, architecture=found.architecture, **settings)
    processes = ProcessGroup(device)
    folder = default_folder(wanted) if out is None else Path(out)
    sets = _open_sets(wanted, processes, image_progress)
    asked = Asked(folder, found, wanted, sets, processes)
    return asked.plan(asked.session(None, 0))


def default_folder(settings: TrainSettings) -> Path:
    """Where a training with these settings runs unless another folder is named."""
    # No character of it may mean something to a shell or a file system.
    text = re.sub(r"[^A-Za-z0-9.]+", "-", settings.architecture)
    return named_folder(f"train-{text}-{settings.image_size}px-seed{settings.seed}")


def _check_begun(folder: Path) -> None:
    """Make sure that there is a run to go on with, be it stopped in its first epoch.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not any((folder / name).exists() for name in (CHECKPOINT, METRICS_CSV)):
        raise FileNotFoundError(
            f"no training to go on with in {folder}; leave out --resume to start one"
        )


def _open_sets(
    settings: TrainSettings,
    processes: ProcessGroup,
    image_progress: Callable[[int, int], None] | None,
) -> TrainingSets:
    """The images; the first process makes those that have to be made."""
    with processes.first_before_others():
        return open_training_sets(
            settings.data,
            validation=settings.validation,
            held_out=settings.held_out,
            image_size=settings.image_size,
            seed=settings.seed,
            train_images=settings.train_images,
            validation_images=settings.validation_images,
            classes=settings.classes,
            progress=image_progress if processes.first else None,
        )


@contextmanager
def _claimed(folder: Path, processes: ProcessGroup, *, fresh: bool) -> Iterator[None]:
    """Claim the folder for all processes, and remove an earlier run if asked to."""
    with claimed(folder, TRAINING, fresh=fresh) if processes.first else nullcontext():
        processes.wait()
        yield


def _open(folder: Path, wanted: TrainSettings) -> Checkpoint | None:
    """What the run in ``folder`` has come to, if it is this run; None if there is none.

    Raises:
        ValueError: If the folder holds another kind of run, or this one with other settings.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    stored = Checkpoint.read(path)
    check_same_settings(folder, stored.origin.settings, wanted)
    return stored


def _finished(folder: Path, stored: Checkpoint | None) -> TrainResult | None:
    """The result in ``folder`` if all is done."""
    if stored is None or not stored.finished or not (folder / MODEL).exists():
        return None
    try:
        return TrainResult.read(folder / RESULT)
    except (FileNotFoundError, ValueError):
        return None  # it follows from the checkpoint and is written again


def _workers(asked: int | None, images: int, processes: ProcessGroup) -> int:
    """Processes that prepare images beside each training process."""
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes.world))
    return 0 if images < FEW_IMAGES else min(MOST_WORKERS, (cores or 1) // here)


def _command(settings: TrainSettings, architecture: str, out: Path | str | None) -> str:
    """The command line that gives this run."""
    usual = make_settings(
        architecture=settings.architecture,
        recipe=settings.recipe,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
    )
    words = ["--recipe", settings.recipe, "--epochs", str(settings.epochs)]
    words += ["--batch-size", str(settings.batch_size)]
    words += changed_options(settings, usual)
    words = [word for word in words if word != str(True)]  # a flag alone says it
    if out is not None:
        words += ["--out", str(out)]
    return shlex.join(["asvit", "train", architecture, *words])

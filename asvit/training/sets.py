"""The images that a training has, and their batches, from its settings."""

from dataclasses import replace
from typing import Any, Final

from asvit.data.base import Progress
from asvit.data.statistics import Normalisation
from asvit.data.training_sets import TrainingSets, open_training_sets
from asvit.training.distributed import ProcessGroup
from asvit.training.loaders import Batching, Loader, train_loader, validation_loader
from asvit.training.settings import TrainSettings

_OPTIONS: Final = (
    *("validation", "held_out", "image_size", "seed", "train_images", "validation_images"),
    *("classes", "train_on_validation"),
)


def open_sets(settings: TrainSettings, **changes: Any) -> TrainingSets:
    """Open the images that settings name; ``changes`` are options of ``open_training_sets``."""
    options = {name: getattr(settings, name) for name in _OPTIONS}
    return open_training_sets(settings.data, **{**options, **changes})


def batching_of(settings: Any, processes: ProcessGroup, workers: int, **more: Any) -> Batching:
    """How a process makes its batches, from the settings of any training and ``more``."""
    return Batching(
        image_size=settings.image_size,
        batch_size=settings.batch_size,
        seed=settings.seed,
        workers=workers,
        rank=processes.rank,
        world=processes.world,
        device=processes.device,
        **more,
    )


def open_loaders(
    sets: TrainingSets,
    settings: TrainSettings,
    processes: ProcessGroup,
    *,
    normalisation: Normalisation | None,
    workers: int,
    progress: Progress | None = None,
) -> tuple[Loader, Loader]:
    """A process's batches to train on and to validate on."""
    batching = batching_of(
        settings,
        processes,
        workers,
        **({} if normalisation is None else vars(normalisation)),
        augmentation=settings.augmentation,
        label_smoothing=settings.label_smoothing,
        balanced=settings.balance == "sampling",
    )
    part = -(-settings.batch_size // settings.accumulate)
    own = replace(batching, batch_size=part)
    return (
        train_loader(sets.train, batching, progress=progress),
        validation_loader(sets.validation, own, progress=progress),
    )

"""The images that a training has, from its settings."""

from typing import Any, Final

from asvit.data.training_sets import TrainingSets, open_training_sets
from asvit.training.settings import TrainSettings

_OPTIONS: Final = (
    *("validation", "held_out", "image_size", "seed", "train_images", "validation_images"),
    *("classes", "train_on_validation"),
)


def open_sets(settings: TrainSettings, **changes: Any) -> TrainingSets:
    """Open the images to train and to validate on that settings name.

    ``changes`` replace settings, and are the other options of
    :func:`asvit.data.open_training_sets`.
    """
    options = {name: getattr(settings, name) for name in _OPTIONS}
    return open_training_sets(settings.data, **{**options, **changes})

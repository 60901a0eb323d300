"""How all networks of a design are trained on its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from asvit.core.shared_settings import AUTO
from asvit.designs.settings import DesignSettings
from asvit.designs.stages import PictureFacts
from asvit.training.short_settings import imbalance

#: Of the pictures to train on, by which the last round is decided; unless they have a part for it.
VALIDATION_SHARE = 0.2
_BATCH_SIZES = (32, 64)  # images where there are enough pictures
_LEAST_UPDATES = 8  # of an epoch, where batches are smaller
_LEARNING_RATE = 6e-3  # of batches of these sizes
# For weights that timm publishes, which were trained with AdamW; the rate is a share of the usual.
_TUNING_SHARE, _TUNING_DECAY = 1 / 12, 0.05


class Strength(NamedTuple):
    """How strongly images are augmented, and weights decay."""

    crop_scale: float  # smallest share of an image's area in a crop
    shift: float  # largest one, as a share of the side
    color_jitter: float
    weight_decay: float
    crop_pct: float  # of the side that validation keeps, of objects about as large as in training


#: In trainings of few epochs, pictures are seen few times and need little augmentation. See
#: docs/evidence_designs.md.
FEW: Final = Strength(1.0, 1 / 14, 0.0, 0.05, 1.0)
MANY: Final = Strength(0.35, 0.0, 0.2, 0.5, 0.875)
_FEW_EPOCHS: Final = 60  # fewer than that


def recipe_for(pictures: int, validation: int = 0) -> Mapping[str, Any]:
    """Batch and learning rate of all trainings on so many pictures.

    Of these, ``validation`` are to validate, or a fifth where there is no part for it. Fewer
    pictures would make few updates of large batches.
    """
    trained = pictures - validation if validation else int((1 - VALIDATION_SHARE) * pictures)
    least, most = _BATCH_SIZES
    batch = least if trained >= 2 * least else 4
    while batch < most and 2 * batch * _LEAST_UPDATES <= trained:
        batch *= 2
    return {"batch_size": batch, "learning_rate": _LEARNING_RATE * min(1.0, batch / least)}


def recipe_of(pictures: PictureFacts) -> Mapping[str, Any]:
    """That of all trainings on these pictures."""
    return recipe_for(pictures.train, pictures.validation)


def strength_for(epochs: float | None, side: int) -> Mapping[str, Any]:
    """Augmentation and decay of trainings of so many epochs, on images of a side in pixels."""
    many = epochs is None or epochs >= _FEW_EPOCHS
    strength = MANY if many else FEW
    return {**strength._asdict(), "shift": round(strength.shift * side)}


def tuning_of(pictures: PictureFacts) -> Mapping[str, Any]:
    """What differs for weights from elsewhere, as timm publishes them."""
    rate = _TUNING_SHARE * recipe_of(pictures)["learning_rate"]
    return {"optimizer": "adamw", "learning_rate": rate, "weight_decay": _TUNING_DECAY}


def preparation_of(pictures: PictureFacts) -> Mapping[str, Any]:
    """How these pictures are prepared in all trainings."""
    return {"fit": pictures.fit, "ground": pictures.ground or AUTO}


def updates_of_an_epoch(pictures: PictureFacts) -> int:
    """Updates of an epoch on these pictures, all of which are trained on."""
    return max(1, int(pictures.train / recipe_of(pictures)["batch_size"]))


def balance_of(settings: DesignSettings, pictures: PictureFacts) -> Literal["none", "sampling"]:
    """How all networks are trained on uneven classes."""
    return settings.balance_for(imbalance(pictures.sizes))

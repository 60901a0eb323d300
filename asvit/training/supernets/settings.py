"""What training a supernet is asked to do: one frozen set of settings, kept with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asvit.settings import Settings, check_whole, from_preset
from asvit.training.asked import check_asked, images_of, recipe_of
from asvit.training.short import Recipe

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "quick": {
        "classes": 5,
        "train_images": 500,
        "validation_images": 100,
        "test_images": 100,
        "image_size": 32,
        "width": 24,
        "epochs": 10,
        "batch_size": 50,
    },
}

_AT_LEAST = {
    "classes": 2,
    "train_images": 2,
    "validation_images": 1,
    "test_images": 1,
    "image_size": 1,
    "width": 1,
    "epochs": 1,
    "batch_size": 1,
    "shift": 0,
    "seed": 0,
}


@dataclass(frozen=True)
class SupernetSettings(Settings):
    """Settings of a supernet. Two runs with equal settings on one CPU give equal weights.

    The paper gives no recipe. This one is DeiT's at the size of a laptop, with the gradient
    clipped at 1 and without its augmentation; all images are kept in memory.

    Attributes:
        space: Name of the search space.
        data: Where the images come from, as :func:`asvit.data.load_images` takes it.
        classes: Classes where ``data`` is ``"fractal"``; other images have their own.
        train_images: Images to train on, over all classes.
        validation_images: Images that are set apart from those, to choose paths by.
        test_images: Images that neither training nor the choice of a path sees.
        image_size: Side of the square images, in pixels.
        width: Channels of the first stage.
        epochs: Times that every training image is seen.
        batch_size: Images in a batch; each batch trains one path.
        learning_rate: Highest learning rate of AdamW, after the warm-up.
        weight_decay: Decoupled decay of matrices.
        warmup: Share of the steps over which the learning rate rises; then it falls as a cosine.
        label_smoothing: Share of the target spread over all classes.
        clip: Largest norm of the gradient.
        shift: Training images are moved by up to so many pixels along each axis.
        flip: Half of the training images are mirrored.
        seed: Seed of every random draw.

    Raises:
        ValueError: If a value is out of its range or of the wrong type.
    """

    space: str = "psvit2d"
    data: str = "fractal"
    classes: int = 20
    train_images: int = 8_000
    validation_images: int = 1_000
    test_images: int = 1_000
    image_size: int = 64
    width: int = 48
    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    label_smoothing: float = 0.1
    clip: float = 1.0
    shift: int = 0
    flip: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole(self, _AT_LEAST)
        check_asked(self)
        if self.batch_size > self.train_images:
            raise ValueError(
                f"batch_size={self.batch_size} is more than there are training images, "
                f"{self.train_images}; use at most as many"
            )

    @property
    def images(self) -> str:
        """Where the images come from, with the number of classes."""
        return images_of(self)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; images that do not fill a last one wait for the next epoch."""
        return self.train_images // self.batch_size

    @property
    def recipe(self) -> Recipe:
        """How the supernet is trained, and how a network alone is with the same effort."""
        return recipe_of(self, self.epochs * self.steps_per_epoch)


def make_settings(preset: str = "default", **given: Any) -> SupernetSettings:
    """Settings of a preset with some of them given anew.

    Raises:
        ValueError: If the preset is unknown or a value is not allowed.
        TypeError: If there is no such setting.
    """
    return from_preset(SupernetSettings, PRESETS, preset, given)

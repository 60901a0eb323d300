"""What building a table of reference accuracies is asked to do: one frozen set of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asvit.settings import Settings, check_whole, from_preset
from asvit.training.asked import check_asked, images_of, recipe_of
from asvit.training.short import Recipe

#: ``default`` is for a GPU or a night, ``quick`` for a minute or two, and ``asvit-fractal`` gives
#: the table of that name.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "quick": {
        "n": 10,
        "classes": 10,
        "train_images": 1_000,
        "test_images": 500,
        "image_size": 32,
        "width": 16,
        "steps": 300,
        "batch_size": 32,
    },
    "asvit-fractal": {
        "seeds": 3,
        "classes": 20,
        "train_images": 4_000,
        "test_images": 5_000,
        "image_size": 32,
        "width": 16,
        "steps": 700,
    },
}

_AT_LEAST = {
    "n": 2,
    "seeds": 1,
    "classes": 2,
    "train_images": 2,
    "test_images": 1,
    "image_size": 1,
    "width": 1,
    "steps": 1,
    "batch_size": 1,
    "shift": 0,
    "seed": 0,
}


@dataclass(frozen=True)
class BuildSettings(Settings):
    """Settings of a table. Two runs with equal settings on one kind of device give equal tables.

    Attributes:
        space: Name of the search space.
        n: Architectures, drawn uniformly and without repeats. A larger table begins with those
            of a smaller one.
        seeds: Trainings of each architecture, with different initial weights and batches.
        data: Where the images come from, as :func:`asvit.data.load_images` takes it.
        classes: Classes where ``data`` is ``"fractal"``; other images have their own.
        train_images: Images to train on, over all classes.
        test_images: Images to test on; none of them is trained on.
        image_size: Side of the square images, in pixels.
        width: Channels of the first stage.
        steps: Batches of each training: the same for all.
        batch_size: Images in a batch.
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

    space: str = "asvit"
    n: int = 60
    seeds: int = 2
    data: str = "fractal"
    classes: int = 100
    train_images: int = 20_000
    test_images: int = 5_000
    image_size: int = 64
    width: int = 32
    steps: int = 3_000
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

    @property
    def images(self) -> str:
        """Where the images come from, with the number of classes."""
        return images_of(self)

    @property
    def recipe(self) -> Recipe:
        """How each network is trained."""
        return recipe_of(self, self.steps)


def make_settings(preset: str = "default", **given: Any) -> BuildSettings:
    """Settings of a preset with some of them given anew.

    Raises:
        ValueError: If the preset is unknown or a value is not allowed.
        TypeError: If there is no such setting.
    """
    return from_preset(BuildSettings, PRESETS, preset, given)

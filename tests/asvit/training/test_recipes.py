"""The recipes are those that were published."""

import pytest

from asvit.training.recipes import RECIPES
from asvit.training.settings import TrainSettings

PRESETS = TrainSettings.presets

ARCH = "8,2,3|4,1,2|4,1,4|4,1,6|32"

# As published for 300 epochs: weight decay, batch, warm-up epochs, warm-up and lowest learning
# rate, clipping, drop-path, repeats, EMA.
PUBLISHED = {
    "deit": (0.05, 1024, 5, 1e-6, 1e-5, 0.0, 0.1, 3, 0.99996),
    "swin": (0.05, 1024, 20, 5e-7, 5e-6, 5.0, 0.2, 0, 0.0),
    "pvt": (0.05, 1024, 5, 1e-6, 1e-5, 0.0, 0.1, 3, 0.0),
    "nextvit": (0.1, 2048, 20, 1e-6, 1e-5, 5.0, 0.1, 0, 0.0),
    "shiftvit": (0.05, 1024, 20, 1e-6, 1e-5, 0.0, 0.2, 3, 0.99996),
}
NAMES = (
    "weight_decay", "batch_size", "warmup_epochs", "warmup_lr", "min_lr", "clip", "drop_path",
    "repeats", "ema",
)  # fmt: skip
COMMON = {
    "epochs": 300, "optimizer": "adamw", "label_smoothing": 0.1, "mixup": 0.8, "cutmix": 1.0,
    "auto_augment": "rand-m9-mstd0.5-inc1", "erasing": 0.25, "color_jitter": 0.4,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_is_as_published(name: str) -> None:
    settings = TrainSettings.make(architecture=ARCH, recipe=name)
    assert tuple(getattr(settings, field) for field in NAMES) == PUBLISHED[name]
    assert {field: getattr(settings, field) for field in COMMON} == COMMON
    assert settings.learning_rate == 5e-4 * settings.batch_size / 512
    assert settings.augmentation.switch == 0.5
    assert settings.augmentation.interpolation == "bicubic"


def test_the_defaults_are_those_of_swin() -> None:
    assert TrainSettings.make(architecture=ARCH) == TrainSettings(architecture=ARCH)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("batch_size", [64, 512, 4096])
def test_the_learning_rate_follows_the_batch(name: str, batch_size: int) -> None:
    settings = TrainSettings.make(architecture=ARCH, recipe=name, batch_size=batch_size)
    assert settings.learning_rate == RECIPES[name]["base_rate"] * batch_size / 512


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_made(name: str) -> None:
    extra = {"weights": "run"} if PRESETS[name].get("new_head") else {}
    settings = TrainSettings.make(name, architecture=ARCH, **extra)
    assert {key: getattr(settings, key) for key in PRESETS[name]} == PRESETS[name]


def test_the_sizes_of_the_fine_tunings_are_the_published_ones() -> None:
    cifar = TrainSettings.make("cifar100-384", architecture=ARCH, weights="run")
    dogs = TrainSettings.make("dogs-448", architecture=ARCH, weights="run")
    assert (cifar.image_size, cifar.classes) == (384, 100)
    assert (dogs.image_size, dogs.classes) == (448, 120)

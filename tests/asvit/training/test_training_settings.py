"""Settings of trainings: recipes as published, what follows from others, and errors."""

import json
from typing import Any

import numpy as np
import pytest

from asvit.core.settings import Settings
from asvit.search import SearchSettings
from asvit.search.evolution import EvolutionSettings
from asvit.training.recipes import RECIPES, fitting_batch, fitting_rate
from asvit.training.settings import TrainSettings
from asvit.training.short import Recipe
from asvit.training.short_settings import CandidateSettings, SupernetSettings, images_of
from asvit.training.supernet import supernet_recipe

PRESETS = TrainSettings.presets
ARCH = "8,2,3|4,1,2|4,1,4|4,1,6|32"

# As published for 300 epochs: weight decay, batch, warm-up epochs, warm-up and lowest learning
# rate, clipping, drop-path.
PUBLISHED = {
    "deit": (0.05, 1024, 5, (1e-6, 1e-5), 0.0, 0.1),
    "swin": (0.05, 1024, 20, (5e-7, 5e-6), 5.0, 0.2),
    "pvt": (0.05, 1024, 5, (1e-6, 1e-5), 0.0, 0.1),
    "nextvit": (0.1, 2048, 20, (1e-6, 1e-5), 5.0, 0.1),
    "shiftvit": (0.05, 1024, 20, (1e-6, 1e-5), 0.0, 0.2),
}
NAMES = (
    "weight_decay", "batch_size", "warmup_epochs", "lowest_rates", "clip", "drop_path",
)  # fmt: skip
COMMON = {
    "epochs": 300, "optimizer": "adamw", "label_smoothing": 0.1, "mixup": 0.8, "cutmix": 1.0,
    "auto_augment": "rand-m9-mstd0.5-inc1", "erasing": 0.25, "color_jitter": 0.4,
}  # fmt: skip


def made(preset: str = "default", **given: Any) -> TrainSettings:
    return TrainSettings.make(preset, architecture=ARCH, **given)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_is_as_published(name: str) -> None:
    settings = made(recipe=name)
    assert tuple(getattr(settings, field) for field in NAMES) == PUBLISHED[name]
    assert {field: getattr(settings, field) for field in COMMON} == COMMON
    assert settings.learning_rate == 5e-4 * settings.batch_size / 512


@pytest.mark.parametrize("name", RECIPES)
def test_the_learning_rate_follows_the_batch(name: str) -> None:
    for size in (64, 512, 4096):
        rate = made(recipe=name, batch_size=size, optimizer="adamw").learning_rate
        assert rate == RECIPES[name]["base_rate"] * size / 512
        with_muon = made(recipe=name, batch_size=size, optimizer="muon").learning_rate
        assert with_muon == pytest.approx(3 * rate)


@pytest.mark.parametrize(
    ("recipe", "images", "batch", "updates"),
    [
        ("finetune", 16_384, 512, 32),
        ("finetune", 16_383, 256, 63),
        ("finetune", 2_800, 64, 43),
        ("finetune", 1_000, 32, 31),
        ("finetune", 255, 16, 15),
        ("finetune", 8, 4, 2),
        ("swin", 1_281_167, 1024, 1251),
        ("deit", 50_000, 1024, 48),
        ("nextvit", 50_000, 1024, 48),
        ("shiftvit", 5_000, 128, 39),
        ("pvt", 500, 32, 15),
        ("small", 2_048, 64, 32),
        ("small", 1_500, 32, 46),
        ("small", 100, 8, 12),
    ],
)
def test_a_batch_fits_the_images_in_enough_updates(
    recipe: str, images: int, batch: int, updates: int
) -> None:
    usual = made(recipe=recipe).batch_size
    assert fitting_batch(images, usual) == batch
    assert images // batch == updates
    assert fitting_rate(1.0, batch) == min(1, batch / 32)
    for processes in (2, 3):
        part, rest = divmod(fitting_batch(images, usual * processes, processes), processes)
        assert (part % 2, rest) == (0, 0)
        assert part >= 4


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # The warm-up takes at most a fifth of other epochs.
        *(({"epochs": n}, {"warmup_epochs": w}) for n, w in ((300, 20), (100, 20), (50, 10))),
        ({"epochs": 4}, {"warmup_epochs": 0}),
        # The lowest rates are no higher than the highest.
        ({"batch_size": 2}, {"lowest_rates": (5e-7, 5e-4 * 2 / 512)}),
        # NumPy's numbers are numbers.
        ({"batch_size": np.int64(2)}, {"learning_rate": 5e-4 * 2 / 512}),
        ({"epochs": np.int64(50)}, {"warmup_epochs": 10}),
        ({"learning_rate": np.float32(2**-20)}, {"lowest_rates": (5e-7, 2**-20)}),
    ],
)
def test_what_follows_from_other_values(given: dict[str, Any], expected: dict[str, Any]) -> None:
    settings = made(**given)
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize("kind", [SupernetSettings, EvolutionSettings])
def test_every_preset_is_allowed_and_survives_json(kind: type[Settings]) -> None:
    for preset in kind.presets:
        settings = kind.make(preset)
        assert kind.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_the_recipe_is_that_of_the_settings() -> None:
    given: dict[str, Any] = {"batch_size": 3, "learning_rate": 0.5, "shift": 1, "flip": True}
    more = {"weight_decay": 0.25, "label_smoothing": 0.125, "clip": 2.0}
    built = CandidateSettings(**given, **more, warmup=0.2, steps=50)
    assert Recipe.of(built, built.steps) == Recipe(**given, **more, warmup=10, steps=50)
    supernet = SupernetSettings(**given, train_images=31, epochs=3)
    assert supernet_recipe(supernet) == Recipe(**given, warmup=3, steps=30)


TRAIN = [
    ({"recipe": "swim"}, "unknown recipe 'swim'; did you mean 'swin'"),
    ({"epochs": 5, "warmup_epochs": 5}, "warmup_epochs=5 leaves nothing of epochs=5"),
    ({"teacher": "timm:resnet18"}, "knows nothing without weights"),
    ({"teacher_weights": "timm"}, "teacher_weights='timm' without a teacher"),
    ({"new_head": True}, "give weights, too"),
    ({"preset": "quik"}, "unknown preset 'quik'; did you mean 'quick'"),
]


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        *((TrainSettings, *row) for row in TRAIN),
        (SupernetSettings, {"batch_size": 8001}, "8001 is more than there are training images, "),
        (SupernetSettings, {"data": "fractal:7", "classes": 3}, "classes=3 beside data=fractal:7"),
        (EvolutionSettings, {"population": 49}, "25 crossovers and 25 mutations do not fit in a"),
    ],
)
def test_a_wrong_value_is_refused(
    kind: type[Settings], given: dict[str, Any], message: str
) -> None:
    more = {"architecture": ARCH} if kind is TrainSettings else {}
    with pytest.raises(ValueError, match=message):
        kind.make(**more, **given)


def test_short_trainings_have_the_classes_that_their_images_name() -> None:
    for data, images in (("fractal", "fractal:7"), ("fractal:7",) * 2, ("digits",) * 2):
        assert images_of(SupernetSettings.make(classes=7, data=data)) == images
    assert SupernetSettings.make(data="fractal:7").classes == 7
    search = SearchSettings.make(controller="predictor", data="fractal:7")
    assert search.training.classes == search.classes == 7

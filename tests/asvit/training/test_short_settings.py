"""Settings of the runs that train on images in memory, and of the evolution that follows one."""

import json
from typing import Any

import pytest

from asvit.core.settings import Settings
from asvit.reference.build_settings import BuildSettings
from asvit.search.supernet_settings import EvolutionSettings
from asvit.training.short import Recipe
from asvit.training.short_settings import ShortTrainingSettings
from asvit.training.supernets.settings import SupernetSettings

TRAINING: tuple[type[ShortTrainingSettings], ...] = (BuildSettings, SupernetSettings)
PRESETS = [(kind, name) for kind in (*TRAINING, EvolutionSettings) for name in kind.presets]


@pytest.mark.parametrize(("kind", "preset"), PRESETS)
def test_every_preset_is_allowed_and_survives_json(kind: type[Settings], preset: str) -> None:
    settings = kind.make(preset)
    assert kind.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize("kind", TRAINING)
def test_fractals_have_the_classes_asked_for_and_other_images_their_own(
    kind: type[ShortTrainingSettings],
) -> None:
    for data, images in (("fractal", "fractal:7"), ("fractal:9", "fractal:9"), ("digits",) * 2):
        assert kind.make(classes=7, data=data).images == images


def test_the_recipe_is_that_of_the_settings() -> None:
    given: dict[str, Any] = {
        "batch_size": 3, "learning_rate": 0.5, "weight_decay": 0.25, "label_smoothing": 0.125,
        "clip": 2.0, "shift": 1, "flip": True,
    }  # fmt: skip
    built = BuildSettings(**given, warmup=0.1, steps=50)
    assert built.recipe == Recipe(**given, warmup=5, steps=50)
    supernet = SupernetSettings(**given, warmup=0.2, train_images=31, epochs=3)
    assert supernet.steps_per_epoch == 10
    assert supernet.recipe == Recipe(**given, warmup=6, steps=30)


BOTH = [
    ({"classes": 1}, "classes must be at least 2, got 1"),
    ({"test_images": 0}, "test_images must be at least 1, got 0"),
    ({"shift": -1}, "shift must be at least 0, got -1"),
    ({"learning_rate": 0}, "learning_rate must be a number above 0, got 0"),
    ({"clip": float("inf")}, r"clip must be a number above 0 and below 1e\+37, got inf"),
    ({"weight_decay": -0.1}, "weight_decay must be a number at least 0 and below 1, got -0.1"),
    ({"warmup": 1}, "warmup must be a number at least 0 and below 1, got 1"),
    ({"label_smoothing": 1}, "label_smoothing must be a number at least 0 and below 1"),
]


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        *((kind, given, message) for kind in TRAINING for given, message in BOTH),
        (BuildSettings, {"n": 1}, "n must be at least 2, got 1"),
        (BuildSettings, {"seeds": 0}, "seeds must be at least 1, got 0"),
        (SupernetSettings, {"epochs": 0}, "epochs must be at least 1, got 0"),
        (SupernetSettings, {"batch_size": 8001}, "8001 is more than there are training images, "),
        (EvolutionSettings, {"population": 0}, "population must be at least 1, got 0"),
        (EvolutionSettings, {"max_macs": 0}, "max_macs must be at least 1, got 0"),
        (EvolutionSettings, {"min_macs": 10, "max_macs": 9}, "max_macs must be at least 10, got"),
        (EvolutionSettings, {"mutation_probability": 1.1}, "at least 0 and at most 1, got 1.1"),
        (EvolutionSettings, {"population": 49}, "25 crossovers and 25 mutations do not fit in a"),
    ],
)
def test_a_wrong_value_is_refused(
    kind: type[Settings], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind.make(**given)

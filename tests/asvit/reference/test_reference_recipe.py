"""What building a table may be asked to do."""

import json
import math
from typing import Any

import pytest

from asvit.reference.recipe import PRESETS, BuildSettings, make_settings
from asvit.training.short import Recipe


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_allowed_and_survives_json(preset: str) -> None:
    settings = make_settings(preset)
    assert BuildSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_fractals_have_the_classes_asked_for_and_other_images_their_own() -> None:
    assert make_settings(classes=7).images == "fractal:7"
    assert make_settings(classes=7, data="fractal:9").images == "fractal:9"
    assert make_settings(classes=7, data="digits").images == "digits"


def test_the_recipe_is_that_of_the_settings() -> None:
    given: dict[str, Any] = {
        "steps": 50, "batch_size": 3, "learning_rate": 0.5, "weight_decay": 0.25,
        "label_smoothing": 0.125, "clip": 2.0, "shift": 1, "flip": True,
    }  # fmt: skip
    assert make_settings(**given, warmup=0.1).recipe == Recipe(**given, warmup=5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n", 1, "n must be at least 2, got 1"),
        ("n", 2.5, "n must be a whole number, got 2.5"),
        ("seeds", 0, "seeds must be at least 1, got 0"),
        ("classes", 1, "classes must be at least 2, got 1"),
        ("test_images", 0, "test_images must be at least 1, got 0"),
        ("shift", -1, "shift must be at least 0, got -1"),
        ("space", "", "space must be a name, got ''"),
        ("data", 3, "data must be a name, got 3"),
        ("learning_rate", 0, "learning_rate must be a number above 0, got 0"),
        ("learning_rate", math.nan, "learning_rate must be a number above 0, got nan"),
        ("clip", math.inf, r"clip must be a number above 0 and below 1e\+37, got inf"),
        ("clip", "1", "clip must be a number above 0, got '1'"),
        ("weight_decay", -0.1, "weight_decay must be a number at least 0 and below 1, got -0.1"),
        ("warmup", 1, "warmup must be a number at least 0 and below 1, got 1"),
        ("label_smoothing", True, "label_smoothing must be a number at least 0 and below 1"),
        ("flip", 1, "flip must be true or false, got 1"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_settings(**{name: value})


def test_an_unknown_setting_has_a_hint() -> None:
    with pytest.raises(TypeError, match="unknown setting 'learning_rat'; did you mean 'learning_"):
        make_settings(learning_rat=1)

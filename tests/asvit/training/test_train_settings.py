"""Settings of a training: defaults, errors and JSON."""

import json
from typing import Any

import pytest

from asvit.training.settings import TrainSettings

ARCH = "8,2,3|4,1,2|4,1,4|4,1,6|32"


def made(**given: Any) -> TrainSettings:
    return TrainSettings.make(architecture=ARCH, **given)


def test_json_round_trip() -> None:
    settings = made(recipe="deit", teacher="timm:resnet18", teacher_weights="timm", classes=7)
    content = json.loads(json.dumps(settings.to_json()))
    assert all(not isinstance(value, dict | list) for value in content.values())
    assert TrainSettings.from_json(content) == settings


def test_what_is_given_wins_over_the_recipe_and_the_preset() -> None:
    settings = TrainSettings.make(
        "quick", architecture=ARCH, recipe="deit", ema=0.9, image_size=48, learning_rate=0.1
    )
    assert (settings.ema, settings.image_size, settings.learning_rate) == (0.9, 48, 0.1)
    assert (settings.recipe, settings.epochs, settings.repeats) == ("deit", 10, 3)


@pytest.mark.parametrize(("epochs", "warmup"), [(300, 20), (100, 20), (50, 10), (4, 0)])
def test_the_warm_up_takes_at_most_a_fifth_of_other_epochs(epochs: int, warmup: int) -> None:
    assert made(epochs=epochs).warmup_epochs == warmup


def test_the_lowest_rates_are_no_higher_than_the_highest() -> None:
    settings = made(batch_size=2)
    assert settings.min_lr == settings.learning_rate == 5e-4 * 2 / 512
    assert settings.warmup_lr == 5e-7


def test_compact_parts_have_two_branches_unless_asked() -> None:
    assert made(ffn="compact").branches == 2
    assert made(ffn="compact", branches=0).branches == 0


def test_soft_distillation_weighs_less() -> None:
    teacher = {"teacher": "timm:resnet18", "teacher_weights": "timm"}
    assert made(**teacher).distillation_weight == 0.5
    assert made(**teacher, distillation="soft").distillation_weight == 0.1
    assert made(**teacher, distillation="soft", distillation_weight=0.3).distillation_weight == 0.3


def test_no_random_augmentation() -> None:
    assert made(auto_augment="none").augmentation.auto_augment is None
    assert made().augmentation.auto_augment == "rand-m9-mstd0.5-inc1"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recipe": "swim"}, "unknown recipe 'swim'; did you mean 'swin'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"batch_size": "8"}, "batch_size must be a whole number, got '8'"),
        ({"ema": 1.0}, "ema must be a number at least 0 and below 1, got 1.0"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0"),
        ({"erasing": 1.5}, "erasing must be a number at least 0 and at most 1, got 1.5"),
        ({"precision": "fp16"}, "precision must be fp32 or bf16, got 'fp16'"),
        ({"bad_images": "skip"}, "bad_images must be stop or replace, got 'skip'"),
        ({"distillation": "warm"}, "distillation must be hard or soft"),
        ({"new_head": 1}, "new_head must be true or false, got 1"),
        ({"epochs": 5, "warmup_epochs": 5}, "warmup_epochs=5 leaves nothing of epochs=5"),
        ({"learning_rate": 1e-7, "min_lr": 1e-6}, "min_lr=1e-06 is above learning_rate=1e-07"),
        ({"teacher": "timm:resnet18"}, "knows nothing without weights"),
        ({"teacher_weights": "timm"}, "teacher_weights='timm' without a teacher"),
        ({"new_head": True}, "give weights, too"),
        ({"train_images": 0}, "train_images must be at least 1, got 0"),
        ({"classes": 1}, "classes must be at least 2, got 1"),
        ({"data": ""}, "data must be a name"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**given)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown preset 'quik'; did you mean 'quick'"):
        TrainSettings.make("quik", architecture=ARCH)
    with pytest.raises(TypeError, match="unknown setting 'epoch'; did you mean 'epochs'"):
        made(epoch=3)

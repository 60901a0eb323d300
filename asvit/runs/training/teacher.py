"""The teacher that a training is asked to learn from, with its weights."""

from __future__ import annotations

from typing import Any

import timm

from asvit.data import MEAN, STD
from asvit.networks import Network, WeightsFile
from asvit.spaces.timm_models import PREFIX, TimmModel
from asvit.training.distillation import Teacher
from asvit.training.pretrained import load_pretrained, weights_path
from asvit.training.settings import TrainSettings
from proxies.messages import first_line

PUBLISHED = "timm"  # in place of a file: the weights that timm publishes


def find_teacher(settings: TrainSettings, classes: tuple[str, ...]) -> Teacher | None:
    """The teacher of a training; None where none is asked for.

    Args:
        settings: Settings of the training.
        classes: Names of the classes.

    Raises:
        FileNotFoundError: If its file of weights is not there.
        OSError: If timm's weights cannot be fetched.
        ValueError: If there is no such network, the weights are not its, or it knows other
            classes.
    """
    name = settings.teacher
    if name is None or settings.teacher_weights is None:
        return None
    if settings.teacher_weights == PUBLISHED:
        return _published(name, classes)
    path = weights_path(settings.teacher_weights)
    try:
        file = WeightsFile.read(path)
    except ValueError:
        return _of_plain_weights(settings, classes)  # no file of ours, or says what is wrong
    wanted = Network(name).architecture
    if file.network.architecture != wanted:
        raise ValueError(
            f"{path} holds {file.network.architecture}, not the teacher {wanted}; name the right "
            "one of both"
        )
    _check_classes(name, file.network.num_classes, classes)
    if file.classes and file.classes != classes:
        raise ValueError(
            f"the teacher in {path} has other classes than the images, or another order"
        )
    return _teacher(
        file.load(),
        file.network.image_size,
        mean=file.facts.get("mean", MEAN),
        std=file.facts.get("std", STD),
    )


def _published(name: str, classes: tuple[str, ...]) -> Teacher:
    if not name.startswith(PREFIX):
        raise ValueError(f"timm publishes no weights of {name!r}; give teacher_weights a file")
    model_name = TimmModel.parse(name).name
    try:
        model = timm.create_model(model_name, pretrained=True)
    except RuntimeError as error:  # timm has none
        raise ValueError(
            f"timm publishes no weights of {model_name!r}: {first_line(error)}"
        ) from error
    _check_classes(name, model.num_classes, classes)
    config = model.pretrained_cfg
    side = config["input_size"][-1]
    return _teacher(model, side, mean=config["mean"], std=config["std"])


def _of_plain_weights(settings: TrainSettings, classes: tuple[str, ...]) -> Teacher:
    """A teacher whose file does not say what it is of: at the student's size and classes."""
    side = settings.image_size
    model = Network(str(settings.teacher), side, len(classes)).build()
    load_pretrained(model, str(settings.teacher_weights), new_head=False)
    config = getattr(model, "pretrained_cfg", None) or {}
    return _teacher(model, side, mean=config.get("mean", MEAN), std=config.get("std", STD))


def _teacher(model: Any, image_size: int, *, mean: Any, std: Any) -> Teacher:
    return Teacher(model, image_size, mean=mean, std=std, student_mean=MEAN, student_std=STD)


def _check_classes(name: str, known: int, classes: tuple[str, ...]) -> None:
    if known != len(classes):
        raise ValueError(
            f"teacher {name} knows {known} classes, the images have {len(classes)}; use a teacher "
            "of these classes"
        )

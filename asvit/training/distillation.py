"""Knowledge distillation from a trained teacher.

timm's tasks have no hard distillation of a single head and no teacher of another image size, and
wait for the device in every step, to compare how both normalise images.
"""

from collections.abc import Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.tensor_files import tensors_digest
from asvit.data import MEAN, STD, Preparation
from asvit.data.kinds import PICTURES, ImageKind
from asvit.data.statistics import Normalisation
from asvit.networks import Network, WeightsFile
from asvit.spaces.timm_models import PREFIX, TimmModel
from asvit.training.pretrained import (
    load_pretrained,
    load_published,
    picture_statistics,
    weights_path,
)
from asvit.training.settings import TrainSettings

PUBLISHED = "timm"  # in place of a file: timm's published weights

Outputs = Tensor | tuple[Tensor, Tensor]


class Teacher(nn.Module):
    """A trained network that accepts the student's images.

    The network, ``[B, C, T, T] -> [B, classes]``, is frozen and in evaluation mode. T is its
    ``image_size`` in pixels; ``mean`` and ``std`` are for pixels divided by the scale of their
    kind (the student has ImageNet's, unless :meth:`take` tells otherwise).
    """

    _scale: Tensor
    _shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        image_size: int,
        *,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        super().__init__()
        self._network = network.requires_grad_(False)
        self._image_size = image_size
        self._own = Normalisation(tuple(mean), tuple(std))
        student = Normalisation()
        self.take(student if len(mean) == len(student.mean) else self._own)
        self.eval()

    def take(self, images: Normalisation) -> None:
        """Take images of the student that are normalised like this."""
        ours, theirs = torch.tensor(images.std), torch.tensor(self._own.std)
        moved = torch.tensor(images.mean) - torch.tensor(self._own.mean)
        # Replacing one normalisation by another is a scale and a shift.
        self._same = bool((ours == theirs).all() and (moved == 0).all())
        self.register_buffer("_scale", (ours / theirs).view(-1, 1, 1), persistent=False)
        self.register_buffer("_shift", (moved / theirs).view(-1, 1, 1), persistent=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, in hexadecimal, and of how they take images."""
        how = self._image_size, *self._own.mean, *self._own.std
        return tensors_digest({**self._network.state_dict(), "images": torch.tensor(how)})

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode; ``mode`` is ignored."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, classes]`` for the student's images ``[B, C, S, S]``."""
        if images.shape[-1] != self._image_size:
            size = (self._image_size, self._image_size)
            images = F.interpolate(images, size, mode="bicubic", antialias=True)
        if not self._same:
            images = images * self._scale + self._shift
        return cast("Tensor", self._network(images))


def distillation_loss(
    outputs: Outputs, teacher_logits: Tensor, *, kind: str, temperature: float
) -> Tensor:
    """The distillation loss of logits ``[B, classes]``, mean over the images, nats.

    Of a student with a classification and a distillation head, the second is used. The kind
    ``"hard"`` is the cross-entropy with the teacher's predicted class; ``"soft"`` is the
    Kullback-Leibler divergence from its probabilities, with both logits divided by the
    temperature, times the squared temperature.

    References:
        Touvron et al. 2021, arXiv:2012.12877, equations 2 and 3.
    """
    student = (outputs[1] if isinstance(outputs, tuple) else outputs).float()
    teacher_logits = teacher_logits.float()
    if kind == "hard":
        return F.cross_entropy(student, teacher_logits.argmax(dim=1))
    ours = F.log_softmax(student / temperature, dim=1)
    theirs = F.log_softmax(teacher_logits / temperature, dim=1)
    divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def load_teacher(
    settings: TrainSettings, classes: tuple[str, ...], kind: ImageKind = PICTURES
) -> Teacher | None:
    """Load the teacher of a training on images of a kind and these classes; None without one."""
    name = settings.teacher
    if name is None or settings.teacher_weights is None:
        return None
    if settings.teacher_weights == PUBLISHED:
        _check_kind(name, PICTURES, kind)
        return _published(name, classes)
    path = weights_path(settings.teacher_weights)
    try:
        file = WeightsFile.read(path)
    except ValueError:
        _check_kind(name, PICTURES, kind)
        return _of_plain_weights(settings, classes)  # which also reports a damaged file
    wanted = Network(name).architecture
    if file.network.architecture != wanted:
        raise ValueError(
            f"{path} holds {file.network.architecture}, not the teacher {wanted}; correct either"
        )
    network = file.network
    _check_classes(name, network.num_classes, classes)
    prepared = Preparation.of(network.image_size, network.in_chans, file.facts)
    _check_kind(name, prepared.kind, kind)
    if file.classes and file.classes != classes:
        raise ValueError(
            f"the teacher in {path} has other classes than the images, or another order"
        )
    return Teacher(file.load(), network.image_size, mean=prepared.mean, std=prepared.std)


def _published(name: str, classes: tuple[str, ...]) -> Teacher:
    if not name.startswith(PREFIX):
        raise ValueError(f"timm publishes no weights of {name!r}; give teacher_weights a file")
    model: Any = load_published(TimmModel.parse(name))
    _check_classes(name, model.num_classes, classes)
    config = model.pretrained_cfg
    return Teacher(model, config["input_size"][-1], mean=config["mean"], std=config["std"])


def _of_plain_weights(settings: TrainSettings, classes: tuple[str, ...]) -> Teacher:
    """A teacher from weights without a header, for the student's image size and classes."""
    side = settings.image_size
    model = Network(str(settings.teacher), side, len(classes)).build()
    load_pretrained(model, str(settings.teacher_weights), new_head=False)
    weights, teacher = str(settings.teacher_weights), str(settings.teacher)
    own = picture_statistics(weights, teacher) or Normalisation()
    return Teacher(model, side, mean=own.mean, std=own.std)


def _check_kind(name: str, taught: ImageKind, images: ImageKind) -> None:
    if (taught.channels, taught.dtype) != (images.channels, images.dtype):
        raise ValueError(
            f"teacher {name} was trained on images of another kind, {taught}, and these have "
            f"{images}; use a teacher of such images"
        )


def _check_classes(name: str, taught: int, classes: tuple[str, ...]) -> None:
    if taught != len(classes):
        raise ValueError(
            f"teacher {name} knows {taught} classes, the images have {len(classes)}; use a "
            "teacher of these classes"
        )

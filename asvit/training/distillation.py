"""Knowledge distillation from a trained teacher.

timm's tasks have no hard distillation of a single head and no teacher of another image size, and
wait for the device in every step, to compare how both normalise images.
"""

from dataclasses import replace
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.tensor_files import tensors_digest
from asvit.data.kinds import PICTURES, ImageKind
from asvit.data.statistics import Normalisation
from asvit.networks.opening import described, open_network
from asvit.spaces.timm_models import PREFIX
from asvit.training.settings import TrainSettings

PUBLISHED = "timm"  # in place of a file: timm's published weights


class Teacher(nn.Module):
    """A trained network that accepts the student's images, frozen and in evaluation mode.

    The network is ``[B, C, T, T] -> [B, classes]`` with T = ``image_size`` pixels, and takes
    images that are normalised as ``own``; the student's are as ``images``.
    """

    _scale: Tensor
    _shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        image_size: int,
        own: Normalisation | None = None,
        images: Normalisation | None = None,
    ) -> None:
        super().__init__()
        self._network = network.requires_grad_(False)
        self._image_size, self._own = image_size, own or Normalisation()
        self.take(images or self._own)
        self.eval()

    def take(self, images: Normalisation) -> None:
        """Take images of the student that are normalised like this."""
        ours, theirs = torch.tensor(images.std), torch.tensor(self._own.std)
        moved = torch.tensor(images.mean) - torch.tensor(self._own.mean)
        # Replacing one normalisation by another is a scale and a shift.
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
        return cast("Tensor", self._network(images * self._scale + self._shift))


def distillation_loss(outputs: Tensor | tuple[Tensor, Tensor], teacher_logits: Tensor) -> Tensor:
    """The cross-entropy of logits ``[B, classes]`` with the teacher's decisions, mean, nats.

    Of a student with a classification and a distillation head, the second is used.

    References:
        Touvron et al. 2021, arXiv:2012.12877, equation 3: hard distillation.
    """
    student = outputs[1] if isinstance(outputs, tuple) else outputs
    return F.cross_entropy(student.float(), teacher_logits.float().argmax(dim=1))


def load_teacher(
    settings: TrainSettings, classes: tuple[str, ...], kind: ImageKind = PICTURES
) -> Teacher | None:
    """The teacher of the settings, for images of these classes and kind; None without one.

    Raises:
        ValueError: If it is of another network, classes or kind of images, too.
        FileNotFoundError: If its weights are not there.
    """
    name, weights = settings.teacher, settings.teacher_weights
    if name is None or weights is None:
        return None
    if weights == PUBLISHED:
        if not name.startswith(PREFIX):
            raise ValueError(
                f"timm publishes no weights of {name!r}; use a timm: model, or a file"
            )
        file = replace(open_network(name), classes=())  # those of ImageNet have several names
    else:
        # One of others is for images of the student's size.
        side = None if described(weights) else settings.image_size
        file = open_network(weights, architecture=name, image_size=side)
    prepared, known = file.preparation, file.network.num_classes
    if known != len(classes) or file.classes not in ((), classes):
        raise ValueError(
            f"teacher {name} knows {known} classes, and the images have {len(classes)}, or others "
            "or in another order; use a teacher of these classes"
        )
    taught = prepared.kind
    if (taught.channels, taught.dtype) != (kind.channels, kind.dtype):
        raise ValueError(
            f"teacher {name} was trained on images of another kind, {taught}, and these have "
            f"{kind}; use a teacher of such images"
        )
    own = Normalisation(tuple(prepared.mean), tuple(prepared.std))
    images = Normalisation() if kind.picture else None
    return Teacher(file.load(), file.network.image_size, own, images)

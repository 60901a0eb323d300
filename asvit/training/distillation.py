"""Knowledge distillation from a trained teacher.

timm's tasks have no hard distillation of a single head and no teacher of another image size, and
wait for the device in every step, to compare how both normalise images.
"""

from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.tensor_files import tensors_digest
from asvit.data import Preparation
from asvit.data.kinds import PICTURES, ImageKind
from asvit.data.statistics import Normalisation
from asvit.networks import Network, WeightsFile
from asvit.spaces.timm_models import PREFIX, TimmModel
from asvit.training.pretrained import load_published, named_weights, weights_path
from asvit.training.settings import TrainSettings

PUBLISHED = "timm"  # in place of a file: timm's published weights

_IMAGENET = Normalisation()

Outputs = Tensor | tuple[Tensor, Tensor]


class Teacher(nn.Module):
    """A trained network that accepts the student's images, frozen and in evaluation mode.

    The network is ``[B, C, T, T] -> [B, classes]`` with T = ``image_size`` pixels. The student's
    images have ImageNet's normalisation where that fits, unless :meth:`take` tells otherwise.
    """

    _scale: Tensor
    _shift: Tensor

    def __init__(
        self, network: nn.Module, image_size: int, own: Normalisation = _IMAGENET
    ) -> None:
        super().__init__()
        self._network = network.requires_grad_(False)
        self._image_size, self._own = image_size, own
        self.take(_IMAGENET if len(own.mean) == len(_IMAGENET.mean) else own)
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
    name, weights = settings.teacher, settings.teacher_weights
    if name is None or weights is None:
        return None
    taught = PICTURES
    if weights == PUBLISHED:
        if not name.startswith(PREFIX):
            raise ValueError(f"timm publishes no weights of {name!r}; give teacher_weights a file")
        model: Any = load_published(TimmModel.parse(name))
        config, known = model.pretrained_cfg, model.num_classes
        own = Normalisation(tuple(config["mean"]), tuple(config["std"]))
        teacher = Teacher(model, config["input_size"][-1], own)
    else:
        file, wanted = _file(settings, name, weights), Network(name).architecture
        network, known = file.network, file.network.num_classes
        if network.architecture != wanted:
            raise ValueError(
                f"{weights_path(weights)} holds {network.architecture}, not the teacher {wanted}; "
                "correct either"
            )
        prepared = Preparation.of(network.image_size, network.in_chans, file.facts)
        taught, own = prepared.kind, Normalisation(tuple(prepared.mean), tuple(prepared.std))
        teacher = Teacher(file.load(), network.image_size, own)
        if known == len(classes) and file.classes not in ((), classes):
            raise ValueError(
                f"the teacher in {weights_path(weights)} has other classes than the images, or "
                "another order"
            )
    if known != len(classes):
        raise ValueError(
            f"teacher {name} knows {known} classes, the images have {len(classes)}; use a "
            "teacher of these classes"
        )
    if (taught.channels, taught.dtype) != (kind.channels, kind.dtype):
        raise ValueError(
            f"teacher {name} was trained on images of another kind, {taught}, and these have "
            f"{kind}; use a teacher of such images"
        )
    return teacher


def _file(settings: TrainSettings, name: str, weights: str) -> WeightsFile:
    """A file of ours, or one of others, which is for images of the student's size."""
    try:
        return WeightsFile.read(weights_path(weights))
    except ValueError:
        return named_weights(weights, name, settings.image_size)  # reports a damaged file, too

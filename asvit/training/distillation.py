"""Knowledge distillation from a trained teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Outputs = Tensor | tuple[Tensor, Tensor]


class Teacher(nn.Module):
    """A trained network that accepts the student's images.

    Args:
        network: ``[B, 3, T, T] -> [B, classes]``; frozen, in evaluation mode.
        image_size: T, the side of its images, in pixels.
        mean: Its normalisation, for pixels in [0, 1].
        std: The same.
        student_mean: Normalisation of the student's images.
        student_std: The same.
    """

    _scale: Tensor
    _shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        image_size: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        student_mean: Sequence[float],
        student_std: Sequence[float],
    ) -> None:
        super().__init__()
        self._network = network.requires_grad_(False)
        self._image_size = image_size
        ours, theirs = (torch.tensor(tuple(value)) for value in (student_std, std))
        moved = torch.tensor(tuple(student_mean)) - torch.tensor(tuple(mean))
        # Replacing one normalisation by another is a scale and a shift.
        self._same = bool((ours == theirs).all() and (moved == 0).all())
        self.register_buffer("_scale", (ours / theirs).view(3, 1, 1), persistent=False)
        self.register_buffer("_shift", (moved / theirs).view(3, 1, 1), persistent=False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode; ``mode`` is ignored."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, classes]`` for the student's images ``[B, 3, S, S]``."""
        if images.shape[-1] != self._image_size:
            size = (self._image_size, self._image_size)
            images = F.interpolate(images, size, mode="bicubic", antialias=True)
        if not self._same:
            images = images * self._scale + self._shift
        logits: Tensor = self._network(images)
        return logits


def use_two_heads(network: nn.Module) -> bool:
    """Make a network with a distillation head return the outputs of both heads in training.

    Returns:
        Whether the network has such a head.
    """
    switch = getattr(network, "set_distilled_training", None)
    if switch is None:
        return False
    switch(True)
    return True


def class_logits(outputs: Outputs) -> Tensor:
    """The logits of the classification head."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def distillation_loss(
    outputs: Outputs, teacher_logits: Tensor, *, kind: str, temperature: float
) -> Tensor:
    """The distillation loss of a student.

    Args:
        outputs: Logits of the student ``[B, classes]``, or of its classification and distillation
            heads, of which the loss uses the second.
        teacher_logits: ``[B, classes]``.
        kind: ``"hard"``: cross-entropy with the teacher's predicted class; ``"soft"``:
            Kullback-Leibler divergence from its probabilities, with both logits divided by the
            temperature, times the squared temperature.
        temperature: Temperature of the soft loss.

    Returns:
        Mean over the images, nats.

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

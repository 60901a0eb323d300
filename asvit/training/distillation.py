"""Distillation: a trained teacher looks at the same images, and the student learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Outputs = Tensor | tuple[Tensor, Tensor]


class Teacher(nn.Module):
    """A trained network behind the student's images.

    Args:
        network: ``[B, 3, T, T] -> [B, classes]``; it is frozen and stays in evaluation mode.
        image_size: T, the side of the images that it was trained on, in pixels.
        mean: Of its images, for pixels in [0, 1].
        std: The same.
        student_mean: Of the student's images.
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
        # One normalisation after the other undone is again a scale and a shift.
        self._same = bool((ours == theirs).all() and (moved == 0).all())
        self.register_buffer("_scale", (ours / theirs).view(3, 1, 1), persistent=False)
        self.register_buffer("_shift", (moved / theirs).view(3, 1, 1), persistent=False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever is asked."""
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
    """Have a network with a head for the teacher give the outputs of both heads in training.

    Returns:
        Whether it has such a head.
    """
    switch = getattr(network, "set_distilled_training", None)
    if switch is None:
        return False
    switch(True)
    return True


def class_logits(outputs: Outputs) -> Tensor:
    """What the head for the classes gave."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def distillation_loss(
    outputs: Outputs, taught: Tensor, *, kind: str, temperature: float
) -> Tensor:
    """How far the student is from its teacher.

    Args:
        outputs: Logits of the student ``[B, classes]``, or those of the head for the classes and
            of the one for the teacher, which is then the one looked at.
        taught: Logits of the teacher, ``[B, classes]``.
        kind: ``"hard"``: cross-entropy with the teacher's decision; ``"soft"``: Kullback-Leibler
            divergence from its probabilities, both sides divided by the temperature, times its
            square.
        temperature: Of the soft kind.

    Returns:
        The mean over the images, nats.

    References:
        Touvron et al. 2021, arXiv:2012.12877, equations 2 and 3.
    """
    student = (outputs[1] if isinstance(outputs, tuple) else outputs).float()
    taught = taught.float()
    if kind == "hard":
        return F.cross_entropy(student, taught.argmax(dim=1))
    ours = F.log_softmax(student / temperature, dim=1)
    theirs = F.log_softmax(taught / temperature, dim=1)
    divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return divergence * temperature**2

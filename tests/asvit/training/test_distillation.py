"""The teacher sees its own images, and the loss is that of DeiT."""

import math

import pytest
import torch
from torch import Tensor, nn

from asvit.data import MEAN, STD
from asvit.training.distillation import Teacher, distillation_loss


class Seen(nn.Module):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, images: Tensor) -> Tensor:
        self.images = images
        self.drawn = self.training
        return self.linear(images.mean((2, 3)))


def test_the_teacher_gets_images_normalised_as_its_own() -> None:
    network, pixels = Seen(), torch.rand(2, 3, 8, 8)
    other_mean, other_std = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)

    def normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    Teacher(network, 8, mean=other_mean, std=other_std)(normalised(MEAN, STD))
    torch.testing.assert_close(network.images, normalised(other_mean, other_std))


def test_the_teacher_gets_images_of_its_own_size() -> None:
    network, images = Seen(), torch.rand(2, 3, 8, 8)
    Teacher(network, 8)(images)
    assert network.images is images  # already of its size
    Teacher(network, 12)(torch.full((2, 3, 8, 8), 0.25))
    torch.testing.assert_close(network.images, torch.full((2, 3, 12, 12), 0.25))


def test_the_teacher_neither_learns_nor_drops_out() -> None:
    network = Seen()
    made = Teacher(network, 8).train()
    logits = made(torch.rand(2, 3, 8, 8, requires_grad=True))
    assert not logits.requires_grad
    assert not network.drawn
    assert not any(p.requires_grad for p in made.parameters())


def test_hard_distillation_is_the_cross_entropy_with_the_decision() -> None:
    student = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    targets = torch.tensor([[3.0, 1.0], [3.0, 1.0]])  # decides for the first class twice
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2
    loss = distillation_loss(student, targets, kind="hard", temperature=3.0)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_soft_distillation_is_the_divergence_at_a_temperature() -> None:
    student, targets = torch.randn(5, 7), torch.randn(5, 7)
    p, q = (targets / 3).softmax(1), (student / 3).softmax(1)
    expected = 9 * (p * (p.log() - q.log())).sum(1).mean()
    loss = distillation_loss(student, targets, kind="soft", temperature=3.0)
    torch.testing.assert_close(loss, expected)
    same = distillation_loss(targets, targets, kind="soft", temperature=3.0)
    assert float(same) == pytest.approx(0, abs=1e-6)


def test_the_second_head_is_the_one_that_learns_from_the_teacher() -> None:
    first, second, targets = torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 4)
    both = distillation_loss((first, second), targets, kind="hard", temperature=1.0)
    alone = distillation_loss(second, targets, kind="hard", temperature=1.0)
    assert torch.equal(both, alone)

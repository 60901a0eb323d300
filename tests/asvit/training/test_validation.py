"""Accuracy of a network on labelled images."""

import math

import pytest
import torch
from torch import Tensor, nn

from asvit.training.processes import Processes
from asvit.training.validation import Accuracy, evaluate


class Given(nn.Module):
    """Gives the logits that its images are."""

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        return images.flatten(1)


class Reversed(nn.Module):
    """Turns the order of the classes round."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits.flip(1)


def batches(logits: Tensor, labels: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    images = logits[:, :, None, None]
    return list(zip(images.split(size), labels.split(size), strict=True))


def test_counted_by_hand() -> None:
    # Of class 0 the largest, the second and the sixth of six; of class 5 the fifth.
    logits = torch.tensor([
        [9.0, 1, 2, 3, 4, 5],
        [8.0, 9, 2, 3, 4, 5],
        [0.0, 1, 2, 3, 4, 5],
        [9.0, 8, 7, 6, 1, 2],
    ])  # fmt: skip
    labels = torch.tensor([0, 0, 0, 5])
    (found,) = evaluate([Given()], batches(logits, labels, 3), Processes("cpu"))
    loss = sum(
        math.log(sum(math.exp(x) for x in row)) - row[label]
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    )
    assert (found.top1, found.top5, found.images) == (25.0, 75.0, 4)
    assert found.loss == pytest.approx(loss / 4, rel=1e-6)


@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_the_size_of_the_batches_makes_no_difference(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(23, 9, generator=generator)
    labels = torch.randint(9, (23,), generator=generator)
    (whole,) = evaluate([Given()], batches(logits, labels, 23), Processes("cpu"))
    (parts,) = evaluate([Given()], batches(logits, labels, size), Processes("cpu"))
    assert (parts.top1, parts.top5, parts.images) == (whole.top1, whole.top5, 23)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)


def test_fewer_than_five_classes() -> None:
    logits, labels = torch.eye(3), torch.tensor([0, 1, 0])
    (found,) = evaluate([Given()], batches(logits, labels, 2), Processes("cpu"))
    assert isinstance(found, Accuracy)
    assert (found.top1, found.top5) == (pytest.approx(200 / 3), 100.0)


def test_several_networks_in_one_pass() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    backwards = nn.Sequential(Given(), Reversed())
    alone = [
        evaluate([network], batches(logits, labels, 4), Processes("cpu"))[0]
        for network in (Given(), backwards)
    ]
    once = iter(batches(logits, labels, 4))  # cannot be gone through twice
    assert evaluate([Given(), backwards], once, Processes("cpu")) == alone
    assert alone[0] != alone[1]


def test_no_images() -> None:
    with pytest.raises(ValueError, match="no images to validate on"):
        evaluate([Given()], [], Processes("cpu"))

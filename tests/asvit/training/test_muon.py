"""Muon: the orthogonal part against the singular values, a step in closed form, what it moves."""

import pytest
import torch
from torch import Tensor, nn

from asvit.training.optimizers import SPARED, Muon, orthogonal

RATE, DECAY = 0.1, 0.05


def polar(matrix: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrix, from the singular vectors."""
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right


def muon(*weights: nn.Parameter, decay: float = DECAY, spared: bool = False) -> Muon:
    """Of weights that decay by so much, beside another group that decays as usual."""
    other = nn.Parameter(torch.ones(4))
    own = {"params": [*weights], "weight_decay": decay, SPARED: spared}
    groups = [own, {"params": [other], SPARED: False}]
    return Muon(torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY).param_groups)


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16), (4, 4)])
def test_the_orthogonal_part_is_that_of_the_singular_vectors(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.linalg.qr(torch.randn(5, side, side, generator=generator))[0] for side in shape
    )
    least = min(shape)
    values = torch.rand(5, least, generator=generator).clamp_min(0.05)
    matrices = left[:, :, :least] @ torch.diag_embed(values) @ right[:, :least]
    ours = orthogonal(1e-6 * matrices)  # of any size
    singular = torch.linalg.svdvals(ours)
    assert 0.9 < singular.min() < singular.max() < 1.1
    for one, matrix in zip(ours, matrices, strict=True):
        assert torch.dist(one, polar(matrix)) < 0.1 * least**0.5
        torch.testing.assert_close(one, orthogonal(matrix[None])[0], atol=1e-4, rtol=0)


def test_first_steps_are_those_of_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(12, 3, 2, 2, generator=generator)
    weight, like = nn.Parameter(first.clone()), nn.Parameter(torch.ones(12, 12))
    gradients = [torch.randn(12, 3, 2, 2, generator=generator) for _ in range(2)]
    optimizer, mean = muon(weight, like), torch.zeros(12, 12)
    expected = first.reshape(12, 12)
    for gradient in gradients:  # another one of the same size does not mix with it
        weight.grad, like.grad = gradient.clone(), torch.zeros(12, 12)
        optimizer.step()
        flat = gradient.reshape(12, 12)
        mean = 0.95 * mean + 0.05 * flat
        moved = 0.2 * 12**0.5 * orthogonal((0.05 * flat + 0.95 * mean)[None])[0]
        expected = (1 - RATE * DECAY) * expected - RATE * moved
        torch.testing.assert_close(weight.detach().reshape(12, 12), expected)
    torch.testing.assert_close(like.detach(), torch.full((12, 12), (1 - RATE * DECAY) ** 2))


@pytest.mark.parametrize(
    ("weight", "decay", "spared"),
    [(torch.ones(7), DECAY, False), (torch.ones(8, 1, 3, 3), DECAY, False),
     (torch.ones(8, 2), DECAY, False), (torch.ones(1, 5, 8), DECAY, False),
     (torch.ones(8, 8), DECAY, True), (torch.ones(8, 8), 0.0, True)],
    ids=["bias", "depthwise convolution", "two columns", "one row", "spared", "and no decay"],
)  # fmt: skip
def test_other_parameters_move_by_adamw(weight: Tensor, decay: float, spared: bool) -> None:
    weights = [nn.Parameter(weight.clone()) for _ in range(2)]
    generator = torch.Generator().manual_seed(0)
    usual = torch.optim.AdamW([weights[0]], lr=RATE, weight_decay=decay)
    optimizers = [usual, muon(weights[1], decay=decay, spared=spared)]
    for _ in range(3):
        gradient = torch.randn(weight.shape, generator=generator)
        for one, optimizer in zip(weights, optimizers, strict=True):
            one.grad = gradient.clone()
            optimizer.step()
    assert torch.equal(*(one.detach() for one in weights))


def test_matrices_move_where_nothing_decays_and_with_rates_that_are_tensors() -> None:
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(6, 6, generator=generator)
    for rate in (RATE, torch.tensor(RATE)):  # as in a captured step
        weight = nn.Parameter(torch.zeros(6, 6))
        optimizer = Muon(torch.optim.AdamW([weight], lr=RATE, weight_decay=0).param_groups)
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = gradient.clone()
        optimizer.step()
        expected = -RATE * 0.2 * 6**0.5 * orthogonal(gradient[None])[0]
        torch.testing.assert_close(weight.detach(), expected)

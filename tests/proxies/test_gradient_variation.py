"""ZiCo against values by hand and its definition, weight by weight."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies import zico
from tests.proxies.networks import Lambda, Tied, asvit_network


def linear_map() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False)).double()
    nn.init.zeros_(model[1].weight)
    return model


def added(left: nn.Module, right: nn.Module) -> nn.Module:
    both = Lambda(lambda made, x: made.left(x) + made.right(x), left=left, right=right)
    return nn.Sequential(nn.Flatten(), both)


def pixels(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)


def test_by_hand() -> None:
    # Logits (0, 0), class 0: gradients ∓x/2, absolute 1/2 and 3/2, mean 1, deviation 1/2, twice.
    assert zico(linear_map(), pixels(1, 3), torch.tensor([0, 0])) == pytest.approx(math.log(2 + 2))


def test_more_batches() -> None:
    # Absolute gradients 1/2, 1 and 3: mean 3/2, deviation √(7/6).
    images, labels = pixels(1, 2, 6), torch.zeros(3, dtype=torch.int64)
    expected = math.log(2 * 1.5 / math.sqrt(7 / 6))
    assert zico(linear_map(), images, labels, batches=3) == pytest.approx(expected)


def test_a_batch_is_averaged_before_its_size_is_taken() -> None:
    # Of the first three images, class 0 with x = 1, 1 and class 1 with x = 5: mean −1/2.
    images, labels = pixels(1, 1, 5, 3, 3), torch.tensor([0, 0, 1, 0, 0])
    assert zico(linear_map(), images, labels) == pytest.approx(math.log(2 * 1 / 0.5))


def by_weights(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    gradients = []
    for rows in (slice(0, 2), slice(2, 4)):
        done = copy.deepcopy(model).eval()
        out = done(images[rows])
        F.cross_entropy(out, labels[rows] % out.shape[1]).backward()
        gradients.append({n: p.grad for n, p in done.named_parameters()})
    score = 0.0
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            ratios = 0.0
            for key in (f"{name}.weight", f"{name}.bias"):
                if gradients[0].get(key) is None:
                    continue
                for pair in zip(*(g[key].flatten().tolist() for g in gradients), strict=True):
                    a, b = map(abs, pair)
                    mean = (a + b) / 2
                    deviation = math.sqrt(((a - mean) ** 2 + (b - mean) ** 2) / 2)
                    ratios += mean / deviation if deviation else 0
            score += math.log(ratios) if ratios else 0
    return score


@pytest.mark.parametrize("name", ["as-vit", "tied"])
def test_equals_the_definition(name: str) -> None:
    torch.manual_seed(0)
    side = 32 if name == "as-vit" else 8
    build = asvit_network("4,2,2|2,2,2|2,1,2|2,1,2|16,8", side) if name == "as-vit" else Tied
    model = build().double()
    images = torch.randn(4, 3, side, side, dtype=torch.float64)
    labels = torch.tensor([0, 1, 5, 900])
    expected = by_weights(model, images, labels)
    assert zico(model, images, labels) == pytest.approx(expected, rel=1e-6)


def test_a_shared_weight_counts_once() -> None:
    torch.manual_seed(0)
    first = nn.Linear(12, 4)
    second = nn.Linear(12, 4)
    second.weight, second.bias = first.weight, first.bias
    images, labels = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 3])
    apart = added(first, first)
    shared = added(first, second)
    assert zico(shared, images, labels) == zico(apart, images, labels)


def test_no_variation_is_no_value() -> None:
    images = torch.randn(2, 3, 4, 4).repeat(2, 1, 1, 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    assert math.isnan(zico(model, images, torch.tensor([0, 1, 0, 1])))


def test_a_branch_that_starts_at_zero_is_left_out() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 3])
    main = nn.Linear(12, 4)
    alone = zico(nn.Sequential(nn.Flatten(), main), images, labels)
    gain = Lambda(lambda made, x: x * made.zero, zero=nn.Parameter(torch.zeros(())))
    assert zico(added(main, nn.Sequential(nn.Linear(12, 4), gain)), images, labels) == alone


@pytest.mark.parametrize(
    ("images", "batches", "message"),
    [
        (4, 1, "batches=1; use at least 2"),
        (1, 2, "1 images for 2 batches; use at least 2"),
        (4, 5, "4 images for 5 batches; use at least 5"),
    ],
)
def test_bad_batches(images: int, batches: int, message: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    labels = torch.zeros(images, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        zico(model, torch.randn(images, 3, 2, 2), labels, batches=batches)


def test_needs_a_layer() -> None:
    model = nn.Sequential(nn.Flatten(), nn.LayerNorm(12))
    with pytest.raises(ValueError, match="no linear layer or convolution to train"):
        zico(model, torch.randn(2, 3, 2, 2), torch.tensor([0, 1]))

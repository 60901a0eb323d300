"""Features, Jacobian covariance and NASWOT: by hand and by definition."""

import itertools
import math
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import proxies.activations
from proxies.activations import (
    feature_condition_number,
    jacobian_covariance,
    naswot,
)
from tests.proxies.networks import NETWORKS, Lambda, asvit_network, timm_network

K = 1e-5


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "convnext_atto", "resnet18"])
def test_features_have_the_condition_of_their_gram_matrix(name: str) -> None:
    model = timm_network(name)[0]().double().eval()
    model.reset_classifier(0)
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        feature = model(images)  # what the head reads
    expected = float(torch.linalg.cond(feature @ feature.T))
    assert feature_condition_number(model, images) == pytest.approx(expected, rel=1e-6)
    assert math.isnan(feature_condition_number(model, images[[0, 1, 1]]))


def half_square() -> nn.Module:
    """Half the sum of squares, whose gradient is the image itself."""
    return Lambda(lambda _, x: (x * x).flatten(1).sum(1, keepdim=True) / 2)


def applied(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """A function of the pixels, as flat rows."""
    return Lambda(lambda _, x: function(x).flatten(1))


def rectifier() -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.Flatten())


def score(eigenvalues: list[float]) -> float:
    return -sum(math.log(value + K) + 1 / (value + K) for value in eigenvalues)


def image_rows(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)[:, None, None, :]


def test_correlated_gradients_by_hand() -> None:
    # Centred, the rows are (−1, 0, 1) and (−1, 1, 0): their correlation is 1/2.
    images = image_rows([[1, 2, 3], [0, 2, 1]])
    assert jacobian_covariance(half_square(), images) == pytest.approx(score([0.5, 1.5]))


@pytest.mark.parametrize("name", ["convolutions", "tokens", "attention", "windows"])
def test_jacobian_covariance_equals_its_definition(name: str) -> None:
    build, side = NETWORKS[name]
    model = build().double()
    images = torch.randn(3, 3, side, side, dtype=torch.float64)
    model.eval()
    rows = [
        torch.autograd.functional.jacobian(model, image[None]).flatten(0, -4).sum(0).flatten()
        for image in images
    ]
    correlation = torch.corrcoef(torch.stack(rows))
    expected = score(torch.linalg.eigvalsh(correlation).tolist())
    assert jacobian_covariance(model.train(), images) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_a_gradient_that_is_rounding_counts_as_constant(seed: int) -> None:
    torch.manual_seed(seed)
    tokens = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=0)
    with pytest.raises(ValueError, match="gives an image a constant gradient"):
        jacobian_covariance(tokens, torch.randn(4, 3, 32, 32))


def test_naswot_by_hand() -> None:
    # Signs + + −, + − − and − − +: two agree in 2, 0 and 1 of 3 units.
    images = image_rows([[1, 2, -1], [3, -1, -1], [-1, -1, 1]])
    kernel = torch.tensor([[3.0, 2, 0], [2, 3, 1], [0, 1, 3]])
    assert kernel.det() == pytest.approx(12)
    assert naswot(rectifier(), images) == pytest.approx(math.log(12))


def hamming_kernel(model: nn.Module, images: Tensor) -> Tensor:
    """Units less Hamming distance, for models whose rectifiers are modules called once."""
    codes: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(lambda _, args: codes.append(args[0] > 0))
        for module in model.modules()
        if isinstance(module, nn.ReLU | nn.GELU)
    ]
    model.eval()(images)
    for handle in handles:
        handle.remove()
    long = torch.cat([code.reshape(len(images), -1) for code in codes], 1).tolist()
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)
    for i, j in itertools.product(range(len(images)), repeat=2):
        distance = sum(a != b for a, b in zip(long[i], long[j], strict=True))
        kernel[i, j] = len(long[i]) - distance
    return kernel


@pytest.mark.parametrize("block", [1 << 22, 7])
@pytest.mark.parametrize("name", ["convolutions", "tokens", "one window", "windows"])
def test_naswot_equals_hamming_distances(
    monkeypatch: pytest.MonkeyPatch, name: str, block: int
) -> None:
    monkeypatch.setattr(proxies.activations, "_BLOCK_SIGNS", block)
    build, side = NETWORKS[name]
    model = build()
    # More signs than one piece holds, few enough for the definition.
    images = torch.randn(3, 3, side, side)
    kernel = hamming_kernel(model, images)
    assert naswot(model, images) == pytest.approx(float(kernel.logdet()), rel=1e-12)


RECTIFIERS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x, inplace=True),
    "relu as a method": lambda x: x.relu(),
    "relu by keyword": lambda x: F.relu(input=x),
    "relu6": F.relu6,
    "relu6 as a module": nn.ReLU6(),
    "relu6 by keyword": lambda x: F.hardtanh(input=x, min_val=0, max_val=6),
    "leaky relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "clamp": lambda x: x.clamp(min=0),
    "clamp by place": lambda x: torch.clamp(x, 0, 6),
    "clamp_min": lambda x: x.clamp_min(0),
    "threshold": nn.Threshold(0, 0),
    "softplus": F.softplus,
    "parametric": nn.PReLU(),
    "folded into the batch": lambda x: F.gelu(x.reshape(-1, 3)).reshape(len(x), -1),
}


@pytest.mark.parametrize("name", RECTIFIERS)
def test_every_form_of_a_rectifier_counts_once(name: str) -> None:
    images = torch.randn(4, 1, 6, 6)
    expected = naswot(rectifier(), images)
    assert naswot(applied(RECTIFIERS[name]), images) == pytest.approx(expected)


def test_only_what_depends_on_the_image_counts_wherever_its_axis_is() -> None:
    def mixed(model: nn.Module, x: Tensor) -> Tensor:
        tokens = x.flatten(2).permute(2, 0, 1)  # [tokens, n, channels]
        bias = F.relu(model.table).mean()  # of a network for positions
        return F.gelu(tokens).transpose(0, 1).flatten(1) + bias

    images = torch.randn(6, 3, 2, 2)
    expected = naswot(rectifier(), images)
    assert naswot(Lambda(mixed, table=nn.Parameter(torch.randn(6, 9))), images) == pytest.approx(
        expected
    )


def test_saturating_functions_are_no_rectifiers() -> None:
    model = asvit_network("5,2,2|3,1,2|2,1,2|2,1,3|16", 32)()
    images = torch.randn(3, 3, 32, 32)
    expected = naswot(model, images)
    model.head = nn.Identity()  # has a tanh
    assert naswot(model, images) == expected
    for head in (nn.Hardtanh(), Lambda(lambda _, x: x.clamp(-1, 1)), nn.Threshold(1, 0)):
        model.head = head
        assert naswot(model, images) == expected

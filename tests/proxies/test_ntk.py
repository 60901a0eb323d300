"""The tangent kernel: closed forms and brute force."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import proxies.per_sample_gradients
from proxies import measure, ntk_condition_number, ntk_matrix, ntk_spectrum
from tests.proxies.networks import NETWORKS, Lambda, Table
from tests.proxies.oracles import gram, ntk_by_images, ntk_by_single_images, weight_gradients


def test_linear_network_has_the_inputs_gram_matrix() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(27, 5)).double()
    images = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    flat = images.flatten(1)
    torch.testing.assert_close(ntk_matrix(linear, images), 5 * flat @ flat.T)
    values = torch.linalg.eigvalsh(5 * flat @ flat.T)
    torch.testing.assert_close(ntk_spectrum(linear, images), values)
    expected = float(values[-1] / values[0])
    assert ntk_condition_number(linear, images) == pytest.approx(expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_small_pieces_it_equals_one_backward_pass_per_image(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(proxies.per_sample_gradients, "_BLOCK_ELEMENTS", 50)
    build, side = NETWORKS[name]
    model = build().double()
    images = torch.randn(3, 3, side, side, dtype=torch.float64)
    for definition in (ntk_by_images, ntk_by_single_images):
        expected = definition(model, images)
        torch.testing.assert_close(ntk_matrix(model, images), expected, rtol=1e-9, atol=0)


def another_order() -> nn.Module:
    def tokens_first(model: nn.Module, x: Tensor) -> Tensor:
        tokens = model.patch(x).flatten(2).permute(2, 0, 1)  # [tokens, n, 6]
        mixed = torch.tanh(model.map(tokens.flatten(0, 1))).unflatten(0, tokens.shape[:2])
        return mixed.transpose(0, 1).flatten(1)

    return Lambda(tokens_first, patch=nn.Conv2d(3, 6, 2, stride=2), map=nn.Linear(6, 7))


def idle_use() -> nn.Module:
    def partly(model: nn.Module, x: Tensor) -> Tensor:
        model.map(2 * x.flatten(1))
        return model.map(x.flatten(1))

    return Lambda(partly, map=nn.Linear(192, 5))


# Three images of sixteen tokens, and as many images as there are tokens.
@pytest.mark.parametrize(
    ("build", "count"), [(Table, 16), (another_order, 3), (another_order, 16), (idle_use, 3)]
)
def test_uses_that_hide_the_samples_are_noticed(
    build: Callable[[], nn.Module], count: int
) -> None:
    model = build().double()
    images = torch.randn(count, 3, 8, 8, dtype=torch.float64)
    expected = ntk_by_images(model, images)
    torch.testing.assert_close(ntk_matrix(model, images), expected, rtol=1e-9, atol=0)


class InPlace(nn.Module):
    """Linear maps of tokens, with a bias, whose outputs are then changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 2, stride=2)
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        mixed = self.second(self.first(tokens).relu_())
        mixed += tokens
        return mixed.flatten(1)


def learned_queries() -> nn.Module:
    """Weights that are the input of a layer: queries, and the weight of another layer."""

    def attend(model: nn.Module, x: Tensor) -> Tensor:
        tokens = model.patch(x).flatten(2).transpose(1, 2)
        queries = model.norm(model.query(model.queries.weight)) + model.query(model.out.weight)
        mixed = (queries @ tokens.transpose(1, 2)).softmax(-1) @ tokens
        return model.out(mixed).mean(1)

    return Lambda(
        attend,
        patch=nn.Conv2d(3, 6, 2, stride=2),
        queries=nn.Embedding(5, 6),
        query=nn.Linear(6, 6),
        norm=nn.LayerNorm(6),
        out=nn.Linear(6, 5),
    )


@pytest.mark.parametrize("make", [InPlace, learned_queries])
def test_weights_count_however_they_are_used(make: Callable[[], nn.Module]) -> None:
    model, images = make().double(), torch.randn(3, 3, 8, 8, dtype=torch.float64)
    expected = ntk_by_single_images(model, images)
    torch.testing.assert_close(ntk_matrix(model, images), expected, rtol=1e-9, atol=0)


def test_singular_kernels_have_no_condition_number() -> None:
    model = NETWORKS["attention"][0]()
    images = torch.randn(3, 3, 8, 8)
    assert math.isfinite(ntk_condition_number(model, images))
    assert math.isnan(ntk_condition_number(model, images[[0, 1, 2, 0]]))


def normed_less(name: str, last: str, **settings: object) -> tuple[nn.Module, nn.Module]:
    """A classifier of timm, and the same with an identity in place of its last norm."""
    import timm

    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(timm.create_model(name, img_size=64, num_classes=3, **settings).double())
    path, _, attribute = last.rpartition(".")
    setattr(models[1].get_submodule(path), attribute, nn.Identity())
    return models[0], models[1]


@pytest.mark.parametrize(
    ("name", "last", "settings"),
    [
        ("coat_lite_tiny", "norm4", {"serial_depths": (1, 1, 1, 1)}),
        ("samvit_base_patch16", "neck.3", {"depth": 1, "embed_dim": 48, "num_heads": 3}),
    ],
)
def test_final_norms_have_several_names(name: str, last: str, settings: dict[str, object]) -> None:
    model, without = normed_less(name, last, **settings)
    images = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    with torch.enable_grad():
        feature = without.eval().forward_head(without.forward_features(images), pre_logits=True)
        expected = gram([weight_gradients(without, total) for total in feature.sum(dim=1)])
    torch.testing.assert_close(ntk_matrix(model, images), expected, rtol=1e-8, atol=0)
    assert ntk_condition_number(model, images) < 30


class PostNorm(nn.Module):
    """A classifier whose residual branch and whose stem end in norms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.LayerNorm(12))
        self.branch = nn.Sequential(nn.Linear(12, 12), nn.GELU(), nn.LayerNorm(12))

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return x + self.branch(x)

    def forward_head(self, x: Tensor, *, pre_logits: bool) -> Tensor:
        return x


def test_a_kernel_of_norm_gains_alone_has_a_reason() -> None:
    score = measure(PostNorm, "ntk_condition_number", image_size=8)["ntk_condition_number"]
    assert not score.valid
    assert "norm gains hold 100.0% of the kernel's trace" in score.reason

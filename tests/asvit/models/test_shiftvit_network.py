"""The ShiftViT network: its counts, its images, its settings, and where it runs."""

import pytest
import torch
from torch import nn

from asvit.models import ShiftViT
from asvit.models.layers.shift import shift
from proxies import count
from proxies.counts import Cost, count_by_module

SMALL = {"depths": (1, 2, 1, 1), "width": 24, "num_classes": 5}
IMAGE = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
ABLATIONS = [{}, {"norm_layer": "batchnorm2d", "act_layer": "relu"}, {"step": 0}, {"ratio": 1.5}]


def small(**settings):
    torch.manual_seed(0)
    return ShiftViT(**{**SMALL, **settings}).eval()


def on_meta(**settings):
    with torch.device("meta"):
        return ShiftViT(**settings)


@pytest.mark.parametrize(
    ("ratio", "depths", "params"),
    [(1, (12, 16, 35, 12), 28_311_112), (3, (4, 5, 12, 4), 28_478_920)],
)
def test_depth_splits_of_the_same_budget_at_other_ratios(ratio, depths, params):
    # Counted with an implementation of the published description; the splits are ours.
    model = on_meta(depths=depths, ratio=ratio)
    assert count(model) == Cost(params, 4_523_833_344)


@pytest.mark.parametrize(("ratio", "macs"), [(2, 115_605_504), (1, 57_802_752), (4, 231_211_008)])
def test_a_block_costs_the_same_in_every_stage(ratio, macs):
    parts = count_by_module(on_meta(depths=(1, 1, 1, 1), ratio=ratio))
    assert {parts[f"layers.{i}.blocks.0"].macs for i in range(4)} == {macs}
    assert macs == 2 * ratio * 56**2 * 96**2  # 2τ·N·C², whatever the stage


def test_fraction_and_step_cost_nothing():
    costs = {count(on_meta(depths=(1,), n_div=d, step=s)) for d, s in ((12, 1), (4, 2), (20, 0))}
    assert len(costs) == 1


def test_it_is_the_published_stack():
    model = small(n_div=8, step=2)
    x = model.patch_embed.norm(
        nn.functional.conv2d(IMAGE, *model.patch_embed.proj.parameters(), 4)
    )
    for i, depth in enumerate((1, 2, 1, 1)):
        for j in range(depth):
            block = model.layers[i].blocks[j]
            x = shift(x, n_div=8, step=2)
            x = x + block.mlp(block.norm2(x))
        if i < 3:
            merging = model.layers[i].downsample
            x = nn.functional.conv2d(merging.norm(x), merging.reduction.weight, stride=2)
    pooled = model.norm(x).mean((2, 3))
    torch.testing.assert_close(model(IMAGE), pooled @ model.head.weight.T + model.head.bias)


@pytest.mark.parametrize("sides", [(32, 32), (64, 96), (230, 200), (33, 47)])
def test_any_image_of_32_px_or_more(sides):
    model = small()
    image = torch.randn(2, 3, *sides)
    assert model.forward_features(image).shape == (2, 192, sides[0] // 32, sides[1] // 32)
    torch.testing.assert_close(model(image[1:]), model(image)[1:])  # samples do not interact


def test_images_too_small_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 3, 64, 31\); use .* sides of at least 32 px"):
        small()(torch.randn(1, 3, 64, 31))
    with pytest.raises(ValueError, match=r"shape \(3, 32, 32\); use \[batch, channels"):
        small()(torch.randn(3, 32, 32))


def test_only_the_shift_mixes_positions():
    """Through two blocks of one position each, a change reaches its neighbours and no others."""
    model = ShiftViT(depths=(2, 1, 1, 1), width=24, norm_layer="batchnorm2d").eval()
    changed = IMAGE.clone()
    changed[:, :, 32:36, 32:36] += 1  # position 8, 8
    before, after = (
        model.forward_intermediates(x, [0], intermediates_only=True)[0] for x in (IMAGE, changed)
    )
    rows, columns = torch.where((before != after).any(1)[0])
    reached = set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert reached == {
        (8 + i, 8 + j) for i in range(-2, 3) for j in range(-2, 3) if abs(i) + abs(j) <= 2
    }


def test_without_a_shift_there_are_only_patches():
    model = small(step=0, norm_layer="batchnorm2d")
    swapped = torch.cat([IMAGE[..., 32:], IMAGE[..., :32]], dim=3)
    torch.testing.assert_close(model(IMAGE), model(swapped), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(small()(IMAGE), small()(swapped), rtol=1e-4, atol=1e-6)


def test_norms_and_activations_are_settings():
    model = small(norm_layer="batchnorm2d", act_layer="relu")
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(nn.BatchNorm2d) == 1 + 5 + 3 + 1
    assert kinds.count(nn.ReLU) == 5
    assert nn.GroupNorm not in kinds
    assert nn.GELU not in kinds
    with pytest.raises(
        ValueError, match="unknown norm_layer 'batchnorm'; did you mean 'batchnorm"
    ):
        small(norm_layer="batchnorm")
    with pytest.raises(ValueError, match="unknown act_layer 'swish'; use one of gelu, relu"):
        small(act_layer="swish")
    with pytest.raises(ValueError, match="global_pool='token'"):
        small(global_pool="token")


def test_initial_weights():
    model = small(width=96)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert abs(module.weight.std().item() - 0.02) < 2e-3, name
            assert module.bias is None or not module.bias.any(), name
        elif isinstance(module, nn.GroupNorm):
            assert (module.weight == 1).all(), name
            assert not module.bias.any(), name


@pytest.mark.parametrize("settings", ABLATIONS, ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_gradients_reach_every_parameter(settings, training):
    model = small(**settings).train(training)
    model(IMAGE).square().sum().backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


def test_channels_last_stays_and_gives_the_same():
    model = small()
    expected = model(IMAGE)
    model.to(memory_format=torch.channels_last)
    image = IMAGE.to(memory_format=torch.channels_last)
    maps = model.forward_intermediates(image, intermediates_only=True)
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in maps)
    torch.testing.assert_close(model(image), expected, rtol=1e-4, atol=1e-6)

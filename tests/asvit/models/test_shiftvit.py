"""ShiftViT: its network, and the released variants in timm, their counts and weights."""

import pytest
import timm
import torch
from torch import nn

from asvit.models import SHIFTVIT_VARIANTS, ShiftViT
from asvit.models.shiftvit import shift
from proxies import count

IMAGE = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
#: Cheap enough to run: overrides of a variant's own settings.
TINY = {"depths": (1, 2, 1, 1), "width": 24, "num_classes": 5}

# Counted with an implementation of the published description, 224 px and 1000 classes; exact:
# parameters and multiply-adds of products.
COUNTS = {
    "shiftvit_light_tiny": (19_608_328, 2_963_159_040),
    "shiftvit_r4_tiny": (31_426_312, 4_581_636_096),
    "shiftvit_r2_tiny": (28_566_664, 4_581_636_096),
    "shiftvit_light_small": (33_796_360, 5_737_691_136),
    "shiftvit_r2_small": (50_304_136, 8_743_434_240),
}


def tiny(**settings):
    torch.manual_seed(0)
    return timm.create_model("shiftvit_r2_tiny", **{**TINY, **settings})


def by_hand(name):
    """Parameters and multiply-adds from the published description alone."""
    c, depths, ratio, *_ = SHIFTVIT_VARIANTS[name].values()
    widths, sides = [c * 2**i for i in range(4)], (56, 28, 14, 7)
    params = 48 * c + c + 2 * c + 2 * widths[3] + 1000 * widths[3] + 1000
    macs = 48 * c * 56**2 + 1000 * widths[3]
    for width, side, depth in zip(widths, sides, depths, strict=True):
        hidden = ratio * width
        params += depth * (2 * width + 2 * width * hidden + hidden + width)
        macs += depth * 2 * width * hidden * side**2
    for i in range(3):
        params += 2 * widths[i] + 4 * widths[i] * widths[i + 1]
        macs += 4 * widths[i] * widths[i + 1] * sides[i + 1] ** 2
    return params, macs


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.nightly] * ("tiny" not in name))
        for name in SHIFTVIT_VARIANTS
    ],
)
def test_counts_and_the_drop_path_of_training(name):
    assert len(SHIFTVIT_VARIANTS) == 9
    with torch.device("meta"):
        model = timm.create_model(name)
    core = count(model)
    counted = (core.params, core.macs)
    assert counted == by_hand(name) == COUNTS.get(name, counted)
    own = {"tiny": 0.2, "small": 0.4, "base": 0.5}[name.rpartition("_")[2]]
    trained_with = 0.6 if name == "shiftvit_r2_base" else own
    assert model.layers[3].blocks[-1].drop_path.drop_prob == pytest.approx(trained_with)


def released_names(depths):
    """The names of a released state dict, as its code writes them."""
    names = ["patch_embed.proj", "patch_embed.norm"]
    for i, depth in enumerate(depths):
        for j in range(depth):
            names += [f"layers.{i}.blocks.{j}.{part}" for part in ("norm2", "mlp.fc1", "mlp.fc2")]
        if i < 3:
            names += [f"layers.{i}.downsample.norm"]
    both = [f"{name}.{kind}" for name in [*names, "norm", "head"] for kind in ("weight", "bias")]
    return {*both, *(f"layers.{i}.downsample.reduction.weight" for i in range(3))}


def test_released_names_and_shapes():
    with torch.device("meta"):
        weights = timm.create_model("shiftvit_light_tiny").state_dict()
    assert weights.keys() == released_names((2, 2, 6, 2))
    assert weights["patch_embed.proj.weight"].shape == (96, 3, 4, 4)
    assert weights["layers.0.blocks.1.mlp.fc1.weight"].shape == (384, 96, 1, 1)
    assert weights["layers.3.blocks.0.mlp.fc2.weight"].shape == (768, 3072, 1, 1)
    assert weights["layers.1.downsample.reduction.weight"].shape == (384, 192, 2, 2)
    assert weights["layers.1.downsample.norm.weight"].shape == (192,)


@pytest.fixture
def released(tmp_path):
    """A file as the released ones are, and its weights."""
    torch.manual_seed(7)
    weights = {name: torch.randn_like(tensor) / 8 for name, tensor in tiny().state_dict().items()}
    assert weights.keys() == released_names(TINY["depths"])
    path = tmp_path / "released.pth"
    torch.save({"model": weights, "epoch": 299}, path)
    return path, weights


def test_a_released_file_loads_strictly(released):
    path, weights = released
    plain = tiny()
    plain.load_state_dict(torch.load(path, weights_only=True)["model"], strict=True)
    for model in (plain, tiny(checkpoint_path=str(path))):
        assert all(torch.equal(model.state_dict()[name], weights[name]) for name in weights)


def small(**settings):
    return tiny(**settings).eval()


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
    assert model(image).shape == (2, 5)


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

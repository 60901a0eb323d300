"""Re-tokenization: paddings, grids, what stays and what follows, on every kind of network."""

import copy
import re

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.models.mlp_mixer import MlpMixer
from timm.models.pit import PoolingVisionTransformer
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F

from asvit.models import AsViT, PSViT
from asvit.models.asvit import PatchEmbedding, same_padding
from asvit.models.retokenization import (
    SCHEDULE,
    Tokens,
    retokenize,
    token_stages,
    tokens_of,
)
from tests.asvit.models.families import NETWORKS, SIDE, images, make

COARSE, MIDDLE, FINE = SCHEDULE
# Kernel -> padding (before, after) at (16,5), (8,2) and (4,1): the rule of the specification,
# with every case computed there.
PADDINGS = {
    4: ((0, 0), (0, 0), (0, 0)),
    5: ((2, 3), (0, 1), (0, 1)),
    6: ((5, 5), (1, 2), (1, 1)),
    7: ((7, 8), (2, 3), (1, 2)),
    8: ((10, 10), (3, 4), (2, 2)),
}
CASES = [
    (kernel, tokens, padding)
    for kernel, row in PADDINGS.items()
    for tokens, padding in zip(SCHEDULE, row, strict=True)
]
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.mark.parametrize(("kernel", "tokens", "padding"), CASES)
def test_padding_of_every_kernel_at_every_stage(kernel, tokens, padding):
    assert same_padding(kernel, tokens.stride, tokens.dilation) == padding


@pytest.mark.parametrize(("kernel", "tokens", "padding"), CASES)
def test_a_token_is_the_kernel_laid_over_its_pixels(kernel, tokens, padding):
    stem = PatchEmbedding(1, 1, kernel)
    retokenize(stem, tokens)
    image = images(1, 32)[:, :1]
    made = stem.proj(image)[0, 0]
    (stride, dilation), weight, bias = tokens, stem.proj.weight[0, 0], stem.proj.bias

    def token(i, j):  # pixel by pixel
        total = bias[0].double()
        for u in range(kernel):
            for v in range(kernel):
                y = i * stride - padding[0] + u * dilation
                x = j * stride - padding[0] + v * dilation
                if 0 <= y < 32 and 0 <= x < 32:
                    total = total + weight[u, v].double() * image[0, 0, y, x].double()
        return total

    side = 32 // stride
    places = [(0, 0), (0, side - 1), (side // 2, 0), (side - 1, side - 1)]
    wanted = torch.stack([token(*place) for place in places])
    torch.testing.assert_close(
        torch.stack([made[place] for place in places]), wanted.float(), rtol=1e-5, atol=1e-5
    )


def test_stages_of_a_stem_of_stride_4_are_the_published_ones():
    assert SCHEDULE == ((16, 5), (8, 2), (4, 1))
    for name in ("asvit", "shiftvit", "pvt", "convnext"):
        assert token_stages(make(name)) == SCHEDULE
    assert list(map(str, SCHEDULE)) == ["(16,5)", "(8,2)", "(4,1)"]


@given(stride=st.integers(2, 32))
def test_other_stems_reach_as_far_as_their_cell_allows(stride):
    stages = token_stages(nn.Conv2d(3, 1, stride, stride).to("meta"))
    assert [tokens.stride for tokens in stages] == [4 * stride, 2 * stride, stride]
    for cell, dilation in stages:
        assert (stride - 1) * dilation + 1 <= cell < (stride - 1) * (dilation + 1) + 1
    assert stages[-1].dilation == 1


@every_network
def test_every_stage_runs_and_the_finest_is_the_plain_network(name):
    model, image = make(name), images()
    plain = model(image)
    names, parameters = list(model.state_dict()), list(map(id, model.parameters()))
    weights = copy.deepcopy(model.state_dict())
    kinds, shown = list(map(type, model.modules())), repr(model)
    stages = token_stages(model)
    outputs = []
    for tokens in (*stages, stages[0], stages[2], stages[1], stages[0], stages[-1]):
        retokenize(model, tokens)
        assert tokens_of(model) == tokens
        assert token_stages(model) == stages
        outputs.append(model(image))
        assert outputs[-1].shape == plain.shape
        assert outputs[-1].isfinite().all()
        assert list(model.state_dict()) == names
        assert list(map(id, model.parameters())) == parameters
    for place in (2, 4, 7):
        assert torch.equal(outputs[place], plain)
    assert torch.equal(outputs[0], outputs[3])  # however it got there
    assert torch.equal(outputs[1], outputs[5])
    assert not torch.allclose(outputs[0], plain)
    assert all(torch.equal(model.state_dict()[key], weights[key]) for key in names)
    assert (list(map(type, model.modules())), repr(model)) == (kinds, shown)


@every_network
def test_weights_trained_coarse_load_into_the_plain_network(name):
    model, image = make(name).train(), images()
    retokenize(model, token_stages(model)[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    outputs = model(image)
    total = sum(out.square().mean() for out in outputs) if isinstance(outputs, tuple) else None
    loss = outputs.square().mean() if total is None else total
    loss.backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []
    optimizer.step()
    plain = make(name)
    plain.load_state_dict(model.state_dict())
    retokenize(model.eval(), token_stages(model)[-1])
    assert torch.equal(model(image), plain(image))
    coarse = make(name)
    for tokens in token_stages(coarse):
        retokenize(coarse, tokens)
        coarse.load_state_dict(model.state_dict())


@every_network
def test_a_copy_is_retokenized_by_itself(name):
    model, image = make(name), images()
    plain = model(image)
    retokenize(model, token_stages(model)[1])
    coarse = model(image)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(image), coarse)
    retokenize(twin, token_stages(twin)[-1])
    assert torch.equal(twin(image), plain)
    assert torch.equal(model(image), coarse)


@pytest.mark.parametrize(
    "name",
    [
        "vit",
        *(pytest.param(name, marks=pytest.mark.nightly) for name in ("asvit", "psvit 2d", "pvt")),
    ],
)
def test_compiled_networks_follow(name):
    model, image = make(name), images()
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    coarse, _, full = token_stages(model)
    for tokens in (coarse, full, coarse):
        retokenize(compiled, tokens)  # through the wrapper, and so for the network itself
        torch.testing.assert_close(compiled(image), model(image))
        assert tokens_of(model) == tokens
    torch.compiler.reset()


PUBLISHED = "8,2,3|4,1,2|4,1,4|4,1,6|32"


@pytest.mark.parametrize(
    ("text", "tokens", "sides", "splits"),
    [
        (PUBLISHED, FINE, (56, 28, 14, 7), (2, 1, 1, 1)),
        (PUBLISHED, MIDDLE, (28, 14, 7, 4), (2, 1, 1, 1)),
        (PUBLISHED, COARSE, (14, 7, 4, 2), (2, 1, 1, 1)),
        # Splits that do not divide a grid become the largest that do: of 8, 2, 2 and 1.
        ("4,8,2|2,4,2|2,2,2|2,1,2|16,16", COARSE, (14, 7, 4, 2), (7, 1, 2, 1)),
    ],
)
def test_grids_and_windows(text, tokens, sides, splits):
    with torch.device("meta"):
        model = AsViT(text)
    retokenize(model, tokens)
    seen = []
    for stage in model.layers:
        stage.register_forward_hook(lambda _, args, out: seen.append(args[0].shape[1:3]))
        stage.blocks[0].register_forward_hook(lambda _, args, out: seen.append(args[0].shape[1:3]))
    model(torch.empty(1, 3, 224, 224, device="meta"))
    windows, grids = seen[::2], seen[1::2]
    assert grids == [(side, side) for side in sides]
    assert windows == [(s * s, (side // s) ** 2) for side, s in zip(sides, splits, strict=True)]


def test_images_are_those_of_the_plain_network_at_every_stage():
    model = make("asvit")
    retokenize(model, COARSE)
    with pytest.raises(ValueError, match="stage 1 cannot cut an image of 66 px"):
        model(images(1, 66))
    assert model(images(1, 96)).shape == (1, 5)
    psvit = make("psvit 2d")
    retokenize(psvit, token_stages(psvit)[0])
    assert psvit(images(1, 68)).shape == (1, 5)  # 17 patches of 4 px, 5 of 16
    with pytest.raises(ValueError, match="patches of 4 px do not fill an image side of 66 px"):
        psvit(images(1, 66))


def test_what_a_coarse_grid_cannot_hold_in_whole_patches_is_padded():
    # 64 px: maps of 4, 2, 1 and 1 positions; without padding the last one would be gone.
    model = make("shiftvit")
    retokenize(model, COARSE)
    image = images()
    x = model.patch_embed.norm(F.conv2d(image, *model.patch_embed.proj.parameters(), 16, 0, 5))
    for i, stage in enumerate(model.layers):
        x = stage(x)
        if i < 3:
            x = F.pad(stage.downsample.norm(x), (0, x.shape[3] % 2, 0, x.shape[2] % 2))
            x = F.conv2d(x, stage.downsample.reduction.weight, stride=2)
    torch.testing.assert_close(model(image), model.head(model.norm(x).mean((2, 3))))


class Wrapped(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, image):
        return self.module(image)


@pytest.mark.parametrize("name", ["asvit", "vit", "pvt"])
def test_a_network_in_a_wrapper(name):
    model, image = make(name), images()
    retokenize(Wrapped(model), token_stages(model)[0])
    coarse = model(image)
    alone = make(name)
    retokenize(alone, token_stages(alone)[0])
    assert torch.equal(coarse, alone(image))


def test_unknown_tokens_are_refused():
    model = make("asvit")
    with pytest.raises(
        ValueError, match=r"AsViT has no tokens of .* \(12, 3\); use one of \(16,5\), \(8,2\), \(4"
    ):
        retokenize(model, Tokens(12, 3))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(3, 3), "Linear has no convolution that could make coarser tokens"),
        (nn.Conv2d(3, 8, 3), "Conv2d starts with .* cuts no tokens out of images; use a square"),
        (nn.Conv2d(3, 8, 2, 4), "cuts no tokens"),
        (nn.Conv2d(3, 8, (4, 8), 4), "cuts no tokens"),
        (nn.Conv2d(3, 8, 4, 4, dilation=2), "cuts no tokens"),
        (nn.Conv2d(3, 8, 4, 4, padding_mode="reflect"), "which pads in its own way"),
    ],
)
def test_networks_without_such_a_stem_are_refused(model, message):
    with pytest.raises(ValueError, match=message) as refused:
        token_stages(model)
    assert "\n" not in str(refused.value)


def small_mixer():
    return MlpMixer(img_size=SIDE, patch_size=32, num_blocks=1, embed_dim=16, num_classes=5)


def small_pit():
    shape = {"base_dims": (8, 8, 8), "depth": (1, 1, 1), "heads": (1, 2, 4), "mlp_ratio": 2}
    return PoolingVisionTransformer(img_size=SIDE, patch_size=8, stride=4, num_classes=5, **shape)


def small_swin():
    shape = {"embed_dim": 8, "depths": (2, 2, 2), "num_heads": (1, 2, 2), "window_size": 4}
    return SwinTransformer(img_size=SIDE, num_classes=5, **shape)


@pytest.mark.parametrize("make_fixed", [small_mixer, small_pit, small_swin])
def test_networks_made_for_one_grid_are_refused_and_stay_as_they_were(make_fixed):
    model, image = make_fixed().eval(), images()
    plain, tokens = model(image), tokens_of(model)
    for coarse in token_stages(model)[:2]:
        with pytest.raises(ValueError, match=r"cannot adapt to tokens \(\d+,\d\); some") as no:
            retokenize(model, coarse)
        assert "\n" not in str(no.value)
        assert torch.equal(model(image), plain)
        assert tokens_of(model) == tokens


def test_lists_too_short_to_pool_are_refused_and_stay_as_they_were():
    model = PSViT(("b",) * 4, (8,) * 4, (1,) * 4, pooling="1d", img_size=SIDE, patch_size=8)
    model, image = model.eval(), images()
    plain = model(image)
    coarse, middle, _ = token_stages(model)
    refusal = "PSViT cannot adapt to tokens (32,4): stage 4 cannot pool 1 token by two"
    with pytest.raises(ValueError, match=f"^{re.escape(refusal)}"):
        retokenize(Wrapped(model), coarse)
    assert torch.equal(model(image), plain)
    retokenize(model, middle)
    assert model(image).shape == plain.shape


def test_norms_that_run_on_gpus_alone_in_training_are_no_obstacle(monkeypatch):
    """As those that several processes share."""

    class Shared(nn.BatchNorm2d):
        def forward(self, x):
            if self.training:
                raise ValueError("expected input tensor to be on GPU")
            return super().forward(x)

    model = timm.create_model("resnet10t").train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        monkeypatch.setattr(norm, "__class__", Shared)
        norm.act = norm.drop = nn.Identity()
    norms[0].eval()
    retokenize(model, token_stages(model)[0])
    assert [module.training for module in norms] == [False, *[True] * (len(norms) - 1)]
    assert model.training


def test_hybrid_stems_are_refused():
    model = VisionTransformer(img_size=32, patch_size=4, embed_dim=8, depth=1, num_heads=1)
    model.patch_embed = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(2))
    with pytest.raises(ValueError, match="VisionTransformer makes its tokens by Sequential"):
        retokenize(model, COARSE)
    assert tokens_of(model) == FINE
    assert type(model.patch_embed[0]) is nn.Conv2d


@pytest.mark.nightly
@pytest.mark.parametrize(
    "name",
    [
        *("nextvit_small", "pvt_v2_b0", "deit_tiny_patch16_224"),
        *("hallucinated_nextvit_small", "hallucinated_deit_tiny_patch16_224"),
    ],
)
def test_published_hosts_at_224_px(name):
    model, image = timm.create_model(name, num_classes=3).eval(), images(1, 224)
    plain = model(image)
    for tokens in token_stages(model):
        retokenize(model, tokens)
        out = model(image)
        assert out.isfinite().all()
    assert torch.equal(out, plain)

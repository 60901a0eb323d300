"""Re-tokenization: paddings, grids, what stays and what follows, on every kind of network."""

import copy

import pytest
import torch
from timm.layers import PatchEmbed
from torch.nn import functional as F

from asvit.models.asvit import AsViT, same_padding
from asvit.models.retokenization import (
    SCHEDULE,
    retokenize,
    stem_of,
    token_stages,
)
from tests.asvit.models.families import NETWORKS, images, make

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
def test_a_token_is_the_kernel_laid_over_its_pixels(kernel, tokens, padding):
    assert same_padding(kernel, tokens.stride, tokens.dilation) == padding
    model = AsViT(f"{kernel},2,2|2,1,2|2,1,2|2,1,2|16", img_size=32, in_chans=1)
    retokenize(model, tokens)
    stem = model.patch_embed
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
        stem = stem_of(model)
        assert (stem.stride[0], stem.dilation[0]) == tokens
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


COARSER = (0, 1)


def stem_tokens(conv, image, tokens):
    """``[B, dim, h, w]``: the kernel at other strides, padded by hand."""
    before, after = same_padding(conv.kernel_size[0], tokens.stride, tokens.dilation)
    padded = F.pad(image, (before, after, before, after))
    return F.conv2d(padded, conv.weight, conv.bias, tokens.stride, 0, tokens.dilation)


def resampled(grid, sides):
    """``[1, dim, h, w]`` at other sides."""
    return F.interpolate(grid, sides, mode="bicubic", antialias=True)


def vit_by_hand(model, x):
    leading = [model.cls_token]
    if model.num_prefix_tokens == 2:
        leading.append(model.dist_token)
    prefix = model.pos_embed[:, : len(leading)]  # those of no place stay as they are
    grid = model.pos_embed[:, len(leading) :].unflatten(1, (8, 8)).permute(0, 3, 1, 2)
    places = resampled(grid, x.shape[2:]).flatten(2).transpose(1, 2)
    x = torch.cat([*(token.expand(2, -1, -1) for token in leading), x.flatten(2).mT], dim=1)
    x = model.norm(model.blocks(x + torch.cat([prefix, places], dim=1)))
    return model.forward_head(x)


def psvit_by_hand(model, x):
    embed = model.patch_embed
    grid = embed.pos_embed[:, 1:].unflatten(1, (16, 16)).permute(0, 3, 1, 2)
    x = (x + resampled(grid, x.shape[2:])).flatten(2).mT
    x = torch.cat([(embed.cls_token + embed.pos_embed[:, :1]).expand(2, -1, -1), x], dim=1)
    for part in model.stages:
        x = part(x)
    return model.head(model.norm(x)[:, 0])


BY_HAND = {
    **dict.fromkeys(("vit", "vit, any size", "deit with a teacher"), vit_by_hand),
    "psvit 1d": psvit_by_hand,
}


@pytest.mark.parametrize("stage", COARSER)
@pytest.mark.parametrize("name", BY_HAND)
def test_positions_are_resampled(name, stage):
    model, image = make(name), images()
    tokens = token_stages(model)[stage]
    x = stem_tokens(stem_of(model), image, tokens)
    assert x.shape[2:] == (64 // tokens.stride,) * 2
    wanted = BY_HAND[name](model, x)
    retokenize(model, tokens)
    torch.testing.assert_close(model(image), wanted)


@pytest.mark.parametrize("stage", COARSER)
@pytest.mark.parametrize("name", ["vit", "vit, any size", "deit with a teacher"])
def test_feature_maps_have_the_grid_of_their_tokens(name, stage):
    model, image = make(name), images()[..., :48] if name == "vit, any size" else images()
    plain = model.forward_intermediates(image, intermediates_only=True)
    tokens = token_stages(model)[stage]
    retokenize(model, tokens)
    grid = tuple(-(-side // tokens.stride) for side in image.shape[2:])
    for other in (model, copy.deepcopy(model)):
        maps = other.forward_intermediates(image, intermediates_only=True)
        assert {one.shape[2:] for one in maps} == {grid}
    retokenize(model, token_stages(model)[-1])
    back = model.forward_intermediates(image, intermediates_only=True)
    assert all(map(torch.equal, back, plain))
    assert type(model.patch_embed) is PatchEmbed

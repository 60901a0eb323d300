"""Learned positions at coarser tokens, against networks put together by hand."""

import copy
import pickle

import pytest
import torch
from timm.layers import PatchEmbed
from torch.nn import functional as F

from asvit.models.asvit import same_padding
from asvit.models.retokenization import (
    retokenize,
    stem_of,
    token_stages,
)
from tests.asvit.models.families import images, make

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


def mean_of_tokens_by_hand(model, x):
    """Class tokens have no positions."""
    grid = model.pos_embed.unflatten(1, (8, 8)).permute(0, 3, 1, 2)
    x = (x + resampled(grid, x.shape[2:])).flatten(2).mT
    x = model.blocks(torch.cat([model.reg_token.expand(2, -1, -1), x], dim=1))
    return model.head(model.fc_norm(model.norm(x)[:, 2:].mean(1)))


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
    "vit, mean of tokens": mean_of_tokens_by_hand,
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
    for other in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        maps = other.forward_intermediates(image, intermediates_only=True)
        listed = other.forward_intermediates(image, intermediates_only=True, output_fmt="NLC")
        grid = tuple(-(-side // tokens.stride) for side in image.shape[2:])
        for one, sequence in zip(maps, listed, strict=True):
            assert one.shape[2:] == grid
            assert torch.equal(one.flatten(2).mT, sequence)
    retokenize(model, token_stages(model)[-1])
    back = model.forward_intermediates(image, intermediates_only=True)
    assert all(map(torch.equal, back, plain))
    assert type(model.patch_embed) is PatchEmbed


def test_positions_learn_at_coarse_tokens():
    for name, positions in (("vit", "pos_embed"), ("asvit, positions", "absolute_pos_embed")):
        model = make(name)
        retokenize(model, token_stages(model)[0])
        model(images()).square().sum().backward()
        assert (dict(model.named_parameters())[positions].grad != 0).all()

"""Blocks and stages."""

import pytest
import torch
from torch import nn

from asvit.models.layers import Block, Stage


def test_block_adds_both_parts_to_its_input():
    block = Block(8, 2, 16).double()
    x = torch.randn(2, 1, 4, 8, dtype=torch.float64)
    y = x + block.attn(block.norm1(x))
    norm, mlp = block.mlps[0]
    torch.testing.assert_close(block(x), y + mlp(norm(y)))


def test_drop_path_leaves_out_branches_of_whole_samples_in_training():
    torch.manual_seed(0)
    block = Block(8, 2, 16, drop_path=0.5)
    x = torch.randn(64, 1, 4, 8)
    untouched = (block(x) == x).flatten(1).all(1)
    assert 4 <= untouched.sum() <= 32  # a quarter is expected
    assert not (block.eval()(x) == x).flatten(1).all(1).any()


def test_stage_mixes_tokens_inside_its_windows_only():
    stage = Stage([Block(8, 2, 16)], splits=2, downsample=nn.Identity())
    x = torch.randn(1, 4, 4, 8)
    changed = x.clone()
    changed[0, 0, 0] += 1
    differs = (stage(x) != stage(changed)).any(-1)[0]
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[:2, :2] = True
    assert torch.equal(differs, expected)


def test_stage_has_fewer_windows_where_its_splits_do_not_divide_the_grid():
    stage = Stage([Block(8, 2, 16)], splits=4, downsample=nn.Identity())
    fewer = Stage(stage.blocks, splits=3, downsample=nn.Identity())
    x = torch.randn(1, 6, 9, 8)
    assert torch.equal(stage(x), fewer(x))


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_checkpointing_changes_no_gradient(drop_path):
    stage = Stage(
        [Block(8, 2, 16, drop_path=drop_path) for _ in range(2)],
        splits=2,
        downsample=nn.Identity(),
    )
    gradients = []
    for checkpointing in (False, True):
        stage.grad_checkpointing = checkpointing
        x = torch.randn(3, 4, 4, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        torch.manual_seed(1)
        stage(x).square().sum().backward()
        gradients.append([x.grad, *(p.grad.clone() for p in stage.parameters())])
        stage.zero_grad()
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)

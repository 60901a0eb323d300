"""Windows against slices of the grid; blocks and stages."""

import pytest
import torch
from torch import nn

from asvit.models.layers.asvit import (
    Block,
    Stage,
    fitting_splits,
    join_windows,
    split_windows,
)


@pytest.mark.parametrize("splits", [1, 2, 4])
def test_windows_are_blocks_of_the_grid(splits):
    x = torch.arange(2 * 4 * 8).view(2, 4, 8, 1)
    windows = split_windows(x, splits)
    height, width = 4 // splits, 8 // splits
    assert windows.shape == (2, splits**2, height * width, 1)
    for row in range(splits):
        for column in range(splits):
            block = x[:, row * height : (row + 1) * height, column * width : (column + 1) * width]
            torch.testing.assert_close(windows[:, row * splits + column], block.flatten(1, 2))
    torch.testing.assert_close(join_windows(windows, splits, 4, 8), x)


@pytest.mark.parametrize(
    ("splits", "sides", "wanted"),
    [
        (2, (56, 56), 2),
        (8, (14, 14), 7),
        (4, (7, 7), 1),
        (4, (14, 14), 2),
        (8, (12, 18), 6),
        (4, (7, 14), 1),
        (1, (5, 3), 1),
        (8, (1, 1), 1),
    ],
)
def test_splits_that_divide_a_grid(splits, sides, wanted):
    assert fitting_splits(splits, *sides) == wanted


def test_one_window_is_a_view():
    x = torch.randn(2, 4, 4, 3)
    assert split_windows(x, 1).data_ptr() == x.data_ptr()
    assert join_windows(split_windows(x, 1), 1, 4, 4).data_ptr() == x.data_ptr()


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

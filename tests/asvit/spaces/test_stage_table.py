"""The cost of each stage."""

import pytest

import asvit
from asvit.genotype import Genotype
from asvit.spaces import stage_table
from proxies.counts import Cost

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
LARGE = "8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180"


@pytest.mark.parametrize("arch", [SEED, Genotype.parse(LARGE), "timm:resnet18"])
@pytest.mark.parametrize("side", [64, 112, 224])
def test_rows_add_up_to_the_cost(arch, side):
    rows = stage_table(arch, image_size=side)
    total = sum((Cost(row.params, row.macs) for row in rows), Cost(0, 0))
    assert total == asvit.cost(arch, image_size=side)


def test_columns_of_the_large_network():
    rows = stage_table(LARGE)
    assert [row.stage for row in rows] == ["1", "2", "3", "4", "head"]
    assert [row.tokens_per_side for row in rows] == [56, 28, 14, 7, None]
    assert [row.width for row in rows] == [180, 360, 720, 1024, 1024]
    assert [row.heads for row in rows] == [4, 8, 16, 32, None]
    assert [row.blocks for row in rows] == [5, 2, 5, 2, None]
    assert [row.window for row in rows] == [28, 28, 14, 7, None]


def test_columns_where_a_grid_is_odd():
    rows = stage_table(SEED, image_size=112)
    assert [row.tokens_per_side for row in rows] == [28, 14, 7, 4, None]
    assert [row.window for row in rows] == [14, 14, 7, 4, None]


def test_first_and_last_row_of_the_seed_by_hand():
    first, *_, last = stage_table(SEED)
    tokens, window, dim = 56 * 56, 28 * 28, 32
    stem = 8 * 8 * 3 * dim
    attention = 4 * dim**2 + 2 * window * dim  # multiply-adds of a token
    mlp = 2 * 3 * dim**2
    assert first.macs == tokens * (stem + attention + mlp)
    biases = dim + 4 * dim + 4 * dim
    norms = 3 * 2 * dim
    assert first.params == stem + 4 * dim**2 + mlp + biases + norms
    assert last.macs == 256 * 256 + 256 * 1000
    assert last.params == last.macs + 256 + 1000 + 2 * 256


def test_anything_else_is_one_row():
    (row,) = stage_table("timm:resnet18")
    assert row.stage == "network"
    assert row.blocks is None


def test_errors_pass_through():
    with pytest.raises(ValueError, match="stage 2 kernel=9"):
        stage_table("8,2,3|9,1,2|4,1,4|4,1,6|32")
    with pytest.raises(ValueError, match="stage 1 splits=2 does not divide 25"):
        stage_table(SEED, image_size=100)

"""Paths through the PSViT supernet: texts, counts of the space, and how they grow."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.architectures.psvit_path import (
    CELL_LAYERS,
    CELLS,
    PSViT1dPath,
    PSViT2dPath,
    canonical,
    unrolled,
)

KINDS = (PSViT1dPath, PSViT2dPath)
TEXT = "psvit2d:bbs---|bs----|bb----"
EMPTY = "------"
BASIC = ("b-----", "b-----", EMPTY)

stages = st.text("bs-", min_size=CELLS, max_size=CELLS)


def test_what_a_text_says():
    path = PSViT2dPath.parse(TEXT)
    assert str(path) == TEXT
    assert path.cells == ("bbs---", "bs----", "bb----")
    assert path.depths == (4, 3, 2)
    assert path.layers == 9
    assert path.stage_cells == ("bbs", "bs", "bb")
    assert path.stage_widths == (96, 192, 384)
    assert path.heads == (3, 6, 12)
    other = PSViT1dPath.parse("psvit1d:bbs---|bs----|bb----")
    assert other.stage_widths == (192, 256, 384)
    assert other.heads == (3, 4, 6)
    assert other.with_(width=50).stage_widths == (50, 67, 100)


def test_the_whole_space_and_what_is_distinct_in_it():
    assert len(CELL_LAYERS) ** (3 * CELLS) == 387_420_489
    # Stages are independent: one in full tells about all. What it does is its sequence of layers.
    every = list(map("".join, product("bs-", repeat=CELLS)))
    one_stage = {canonical([cells]) for cells in every}
    assert len(one_stage) == len({cells.replace("-", "") for cells in every}) == 127
    assert len(one_stage) ** 3 == 2_048_383
    counts = {(cells.count("b"), cells.count("s")) for (cells,) in one_stage}
    assert len(counts) ** 3 == 28**3 == 21_952


@given(stages, st.integers(0, 40))
def test_one_layer_more_adds_a_layer_and_changes_nothing_before(cells, depth):
    less, more = unrolled(cells, depth), unrolled(cells, depth + 1)
    # Either a basic layer is new, or the last one becomes a pair.
    assert more in (less + "b", less[:-1] + "s")


@pytest.mark.parametrize(
    ("cells", "depth", "built"),
    [
        ("bs----", 3, "bs"),
        ("bs----", 5, "bsbb"),
        ("bs----", 6, "bsbs"),
        ("-b-s--", 6, "bsbs"),
        ("ssssss", 3, "sb"),
        ("bs----", 0, ""),
        (EMPTY, 2, "bb"),
        ("bbbbbb", 8, "bbbbbbbb"),
    ],
)
def test_cells_repeat_until_the_layers_are_used_up(cells, depth, built):
    assert unrolled(cells, depth) == built


@pytest.mark.parametrize(
    ("cells", "side", "message"),
    [
        (BASIC, 100, "patches of 16 px do not fill an image side of 100 px; use 96 or 112 px"),
        (BASIC, 0, "patches of 16 px do not fill an image side of 0 px; use 16 px"),
        (BASIC, 16, "an image of 16 px has too few tokens to pool 1 times; use 32 px or more"),
        ((EMPTY,) * 3, 32, "has no layers; use 'b' or 's' in at least one cell"),
    ],
)
def test_images_that_do_not_suit(cells, side, message):
    with pytest.raises(ValueError, match=message):
        PSViT1dPath(cells).check(side)
    PSViT1dPath(("b-----", EMPTY, EMPTY)).check(16)  # nothing is pooled into an empty tail

"""The architecture text: reading, writing, refusing."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.architectures.base import DEPTH_CHOICES
from asvit.architectures.genotype import (
    EXPANSION_CHOICES,
    HEAD_CHOICES,
    KERNEL_CHOICES,
    SPLIT_CHOICES,
    Genotype,
)
from asvit.architectures.parts import PART_CHOICES, Parts

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
LARGE = "8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180"


def genotypes() -> st.SearchStrategy[Genotype]:
    def four(choices):
        return st.tuples(*(st.sampled_from(c) for c in choices))

    return st.builds(
        Genotype,
        four(KERNEL_CHOICES),
        four(SPLIT_CHOICES),
        four(EXPANSION_CHOICES),
        st.sampled_from(HEAD_CHOICES),
        st.one_of(st.just((1, 1, 1, 1)), four([DEPTH_CHOICES] * 4)),
        st.one_of(st.just(32), st.integers(8, 1024)),
        st.builds(Parts, *map(st.sampled_from, PART_CHOICES.values())),
    )


@given(genotypes())
def test_every_architecture_round_trips(g):
    assert Genotype.parse(str(g)) == g


def test_parts_are_the_published_ones_unless_named():
    g = Genotype.parse(f"{SEED}; init=width , stem=conv,head=mlp ")
    assert g.parts == Parts(stem="conv", init="width")
    # A stem of convolutions has no kernel, so that equal networks have equal texts.
    assert str(g) == "4,2,3|4,1,2|4,1,4|4,1,6|32;stem=conv,init=width"
    assert str(g.with_(width=64)) == "4,2,3|4,1,2|4,1,4|4,1,6|32,64;stem=conv,init=width"
    assert str(Genotype.parse(f"{SEED};stem=patch")) == SEED


def test_what_is_left_out_is_filled_in():
    g = Genotype.parse(" 8 , 2,3 | 4,1,2|\t4,1,4,3|4,1,6|32\n")
    assert g == Genotype((8, 4, 4, 4), (2, 1, 1, 1), (3, 2, 4, 6), 32, (1, 1, 3, 1), 32)
    assert str(g) == "8,2,3,1|4,1,2,1|4,1,4,3|4,1,6,1|32"


def test_lists_and_numpy_integers_become_plain_and_hashable():
    g = Genotype([8, 4, 4, 4], np.array([2, 1, 1, 1]), (3, 2, 4, np.int64(6)), np.int32(32))
    assert {g: str(g)} == {Genotype.parse(SEED): SEED}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "architecture text '' has 1 part"),
        ("8,2,3|4,1,2|4,1,4|4,1,6", "has 4 part"),
        (SEED + "|32", "has 6 part"),
        ("8,2|4,1,2|4,1,4|4,1,6|32", r"stage 1 has 2 value\(s\), '8,2'; write kernel,splits"),
        ("8,2,3|4,1,2,1,1|4,1,4|4,1,6|32", r"stage 2 has 5 value\(s\)"),
        (SEED + ";", "'' names no part; use each of stem, head, mixing, .* once"),
        (SEED + ";stem=conv,stem=conv", "'stem=conv' names no part"),
        (SEED + ";stem=convs", "stem='convs' is not a part; use one of patch, conv, deep$"),
        (SEED + ",32,1", r"the last part has 3 value\(s\), '32,32,1'; write heads\[,width\]"),
        ("9,2,3|4,1,2|4,1,4|4,1,6|32", r"stage 1 kernel=9 .* one of \[4, 5, 6, 7, 8\]"),
        ("8,2,3|5,1,2|4,1,4|4,1,6|32", r"stage 2 kernel=5 .* one of \[2, 3, 4\]"),
        ("8,1,3|4,1,2|4,1,4|4,1,6|32", r"stage 1 splits=1 .* one of \[2, 4, 8\]"),
        ("8,2,3|4,1,2|4,4,4|4,1,6|32", r"stage 3 splits=4 .* one of \[1, 2\]"),
        ("8,2,3|4,1,2|4,1,4|4,2,6|32", r"stage 4 splits=2 .* one of \[1\]"),
        ("8,2,3|4,1,2|4,1,7|4,1,6|32", r"stage 3 expansion=7 .* one of \[2, 3, 4, 5, 6\]"),
        ("8,2,3|4,1,2|4,1,4|4,1,6|8", r"stage 4 heads=8 .* one of \[16, 32, 64\]"),
        ("8,2,3|4,1,2|4,1,4,0|4,1,6|32", "stage 3 depth=0 .* a whole number from 1 to 256"),
        (SEED + ",0", "stage 1 width=0 .* a whole number from 1 to 1024"),
        (SEED + ",1025", "stage 1 width=1025 .* 1 to 1024"),
        ("8,2,3|4,,2|4,1,4|4,1,6|32", r"stage 2 splits='' .* one of \[1, 2, 4\]"),
        ("8,2,3|4,1_0,2|4,1,4|4,1,6|32", "stage 2 splits='1_0'"),
        ("8,2,3|+4,1,2|4,1,4|4,1,6|32", r"stage 2 kernel='\+4'"),
        ("8,2,3|٤,1,2|4,1,4|4,1,6|32", "stage 2 kernel='٤'"),
        ("8,2,3|4,1,2|4,1,4|4,1,6|3 2", "stage 4 heads='3 2'"),
        (SEED + "," + "9" * 5000, "stage 1 width='9"),
        (
            "8,2,3|4,1,2|4,1,4|4,1,6|64,7",
            "stage 1 width=7 is less than its 8 heads; .* at least 8",
        ),
    ],
)
def test_errors_name_the_stage_the_value_and_what_is_allowed(text, message):
    with pytest.raises(ValueError, match=message):
        Genotype.parse(text)


def test_a_change_is_checked_like_the_original():
    g = Genotype.parse(SEED)
    assert str(g.with_(depths=(5, 2, 5, 2), width=180)) == LARGE
    assert g.with_() == g
    with pytest.raises(ValueError, match="stage 2 depth=0"):
        g.with_(depths=(1, 0, 1, 1))
    with pytest.raises(ValueError, match="stage 1 width=3 is less than its 4 heads"):
        dataclasses.replace(g, width=3)
    with pytest.raises(ValueError, match=r"depths has 3 value\(s\)"):
        g.with_(depths=(1, 1, 1))
    with pytest.raises(ValueError, match=r"stage 4 heads=32\.0"):
        dataclasses.replace(g, heads=32.0)


def test_widths_double_up_to_the_cap_and_heads_follow():
    g = Genotype.parse(LARGE)
    assert g.stage_widths == (180, 360, 720, 1024)
    assert g.stage_heads == (4, 8, 16, 32)
    assert Genotype.parse(SEED).stage_widths == (32, 64, 128, 256)


def test_tokens_per_side_half_of_an_odd_one_rounded_up():
    g = Genotype.parse("8,8,3|4,4,2|4,2,4|4,1,6|32")
    assert g.token_sides(224) == (56, 28, 14, 7)
    assert Genotype.parse(SEED).token_sides(112) == (28, 14, 7, 4)
    assert Genotype.parse(SEED).token_sides(8) == (2, 1, 1, 1)


@given(genotypes(), st.integers(-10, 2000))
def test_a_side_fits_or_the_nearest_that_do_are_named(g, side):
    def fits(other: int) -> bool:
        tokens = [math.ceil(other / stride) for stride in (4, 8, 16, 32)]
        divided = [t % s == 0 for t, s in zip(tokens, g.splits, strict=True)]
        return other > 0 and other % 4 == 0 and all(divided)

    if fits(side):
        assert g.token_sides(side) == tuple(math.ceil(side / stride) for stride in (4, 8, 16, 32))
        return
    with pytest.raises(ValueError, match=r"; use (\d+ or )?\d+ px$") as caught:
        g.token_sides(side)
    below = next((s for s in range(side, 0, -1) if fits(s)), None)
    above = next(s for s in range(max(side, 1), side + 44) if fits(s))
    named = str(caught.value).rpartition("use ")[2].removesuffix(" px").split(" or ")
    assert [int(s) for s in named] == [s for s in (below, above) if s is not None]


@given(genotypes(), st.integers(1, 40))
def test_every_architecture_takes_every_multiple_of_32(g, n):
    assert g.token_sides(32 * n) == (8 * n, 4 * n, 2 * n, n)


@pytest.mark.parametrize(
    ("text", "side", "message"),
    [
        (
            "8,8,3|4,4,2|4,2,4|4,1,6|32",
            112,
            r"stage 1 splits=8 does not divide 28 tokens per side \(image 112 px\), "
            r"as \[2, 4\] do; use 96 or 128 px",
        ),
        (
            SEED,
            100,
            r"splits=2 does not divide 25 tokens per side \(image 100 px\); use 96 or 104",
        ),
        (SEED, 225, "stage 1 cannot cut an image of 225 px with stride 4; use 224 or 232 px"),
        (SEED, -32, "an image of -32 px with stride 4; use 8 px"),
    ],
)
def test_images_that_do_not_fit(text, side, message):
    with pytest.raises(ValueError, match=message):
        Genotype.parse(text).token_sides(side)

"""The As-ViT architecture: widths, heads, and the image sizes that it takes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.architectures.genotype import Genotype
from tests.asvit.architectures.test_grammar import SEED, architectures

LARGE = "8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180"


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


@given(architectures(Genotype), st.integers(-10, 2000))
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


@given(architectures(Genotype), st.integers(1, 40))
def test_every_architecture_takes_every_multiple_of_32(g, n):
    assert g.token_sides(32 * n) == (8 * n, 4 * n, 2 * n, n)


@pytest.mark.parametrize(
    ("text", "side", "message"),
    [
        (
            "8,8,3|4,4,2|4,2,4|4,1,6|32",
            112,
            r"stage 1 splits=8 does not divide 28 tokens per side \(image 112 px\); "
            "use 96 or 128 px",
        ),
        (
            SEED,
            100,
            r"splits=2 does not divide 25 tokens per side \(image 100 px\); use 96 or 104",
        ),
        (
            SEED,
            225,
            r"stage 1 cannot cut the image with stride 4 \(image 225 px\); use 224 or 232",
        ),
        (SEED, -32, r"\(image -32 px\); use 8 px"),
    ],
)
def test_images_that_do_not_fit(text, side, message):
    with pytest.raises(ValueError, match=message):
        Genotype.parse(text).token_sides(side)

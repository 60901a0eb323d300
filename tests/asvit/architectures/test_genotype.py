"""The As-ViT architecture: widths, heads, and the image sizes that it takes."""

import pytest

from asvit.architectures.genotype import Genotype
from tests.asvit.architectures.test_grammar import SEED

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


@pytest.mark.parametrize(
    ("text", "side", "message"),
    [
        ("8,8,3|4,4,2|4,2,4|4,1,6|32", 112, "stage 1 splits=8 does not divide 28 tokens per side"),
        (
            SEED,
            100,
            r"splits=2 does not divide 25 tokens per side \(image 100 px\); use a multiple",
        ),
        (SEED, 225, r"stage 1 cannot cut .* stride 4 \(image 225 px\); use a multiple of 32 px"),
        (SEED, -32, r"\(image -32 px\); use a multiple of 32 px"),
    ],
)
def test_images_that_do_not_fit(text, side, message):
    with pytest.raises(ValueError, match=message):
        Genotype.parse(text).token_sides(side)

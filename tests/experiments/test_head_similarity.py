"""The picture of heads against heads: rows, panels, and the same bytes for the same rows."""

import re

import torch

from asvit.report.style import PALETTE, levels
from experiments.head_similarity import draw_similarity, similarity_picture, similarity_rows

SIMILARITIES = {
    "blocks.0.attn": torch.tensor([[1.0, 0.25], [0.25, 1.0]]),
    "blocks.1.attn": torch.full((3, 3), 0.9),
    "alone": torch.ones(1, 1),
}


def test_titles_have_the_mean_over_pairs_where_there_is_one():
    drawn = draw_similarity(similarity_rows(SIMILARITIES))
    titles = [axes.get_title() for axes in drawn.axes if axes.get_title()]
    assert titles == ["blocks.0.attn  0.25", "blocks.1.attn  0.90", "alone"]
    assert not draw_similarity([]).axes[0].get_title()


def test_the_picture_is_made_of_the_palette_and_always_the_same():
    picture, again = similarity_picture(SIMILARITIES), similarity_picture(SIMILARITIES)
    assert picture == again
    assert picture.svg == again.svg
    assert picture.csv.splitlines()[:2] == [
        "attention,first,second,similarity",
        "blocks.0.attn,0,0,1.0",
    ]
    colours = set(re.findall(r"fill: (#[0-9a-f]{6})", picture.svg))
    assert {levels(5)[1], levels(5)[4]} <= colours
    assert colours <= {light for light, _ in PALETTE.values()} | {"#000000"}

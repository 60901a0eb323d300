"""Architectures as columns of numbers."""

import math
from typing import ClassVar

import numpy as np
import pytest
from torch import nn

import asvit
from asvit.predictor import features
from asvit.spaces import SPACES, PlainSpace
from asvit.spaces.base import SIZES

AS_VIT = "8,2,3|4,1,2|4,1,4|4,1,6|32"


def row(text, **given):
    names, values = features([text], **given)
    return dict(zip(names, values[0], strict=True))


def test_sizes_of_an_as_vit_are_logarithms():
    found = row("8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180", image_size=224)
    cost = asvit.cost("8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180", 224)
    assert [found[name] for name in SIZES] == [
        math.log2(number) for number in (cost.params, cost.macs, 14, 180)
    ]


def test_choices_of_an_as_vit():
    found = row(AS_VIT)
    assert [found[f"K{i}"] for i in (1, 2, 3, 4)] == [8, 4, 4, 4]
    assert [found[f"E{i}"] for i in (1, 2, 3, 4)] == [3, 2, 4, 6]
    assert [found[f"S{i}"] for i in (1, 2, 3)] == [1, 0, 1]  # a logarithm unless 1 or 2
    assert found["H"] == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "pit:16,6|2,8,4|2,4,4",
            {"depth": math.log2(14), "width": 5, "ratio": 6, "blocks2": 8, "heads2": 2},
        ),
        (
            "autoformer:192|3,3,4,4,3,3|4,4,4,4,3.5,3.5",
            {"width": math.log2(192), "heads2": 4, "ratio1": 4, "ratio3": 3.5},
        ),
        ("autoformer:192|3|4", {"depth": 0, "heads1": 3, "heads3": 3}),
        (
            "shift:1,2,4,1|2|12|1|96",
            {"depth": 3, "L3": 4, "R": 1, "N": 12, "width": math.log2(96)},
        ),
        (
            "psvit2d:bbs---|b-----|s-----",
            {"depth": math.log2(7), "layers1": 4, "pairs1": 1, "pairs2": 0, "pairs3": 1},
        ),
        ("timm:vit_tiny_patch16_224", {"depth": math.log2(12), "width": math.log2(192)}),
    ],
)
def test_choices_of_other_kinds(text, expected):
    found = row(text)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found[f"kind={text.split(':')[0].replace('shift', 'shiftvit')}"] == 1
    assert all(math.isfinite(value) for value in found.values())


def test_known_counts_are_taken_as_they_are():
    found = row(AS_VIT, counts={"params": [1024.0], "macs": [math.nan]})
    assert found["params"] == 10
    assert found["macs"] == row(AS_VIT)["macs"]


def test_an_architecture_lacks_the_choices_of_other_kinds():
    names, values = features([AS_VIT, "pit:16,6|2,8,4|2,4,4"])
    known = dict(zip(names, np.isfinite(values).T.tolist(), strict=True))
    assert known["E1"] == [True, False]
    assert known["ratio"] == [False, True]
    assert all(known[name] == [True, True] for name in (*SIZES, "kind=asvit", "kind=pit"))


def test_a_network_that_does_not_take_the_images_has_no_size() -> None:
    names, values = features(["timm:crossvit_tiny_240", "timm:vit_tiny_patch16_224"], 32)
    sizes = dict(zip(names, values.T, strict=True))
    assert np.isnan(sizes["macs"]).tolist() == [True, False]


def test_a_network_that_is_not_built_for_the_images_has_no_structure(monkeypatch) -> None:
    class Large(PlainSpace):
        name, prefix, description, paper = "large", "large:", "for images of 64 px", "none"
        dimensions: ClassVar = {"features": (4, 8)}

        def network(self, choices, **_):
            return nn.Linear(choices["features"], 1)

        def check(self, arch, image_size):
            if image_size < 64:
                raise ValueError("use images of 64 px")

    monkeypatch.setitem(SPACES, "large", Large())
    names, values = features(["large:4", "large:8", AS_VIT], 32)
    columns = dict(zip(names, values.T, strict=True))
    for name in SIZES:
        assert np.isnan(columns[name]).tolist() == [True, True, False]

"""The As-ViT space and its small part."""

import math

import pytest

from asvit.architectures.genotype import Genotype
from asvit.spaces import load_space

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"


def test_the_published_size_and_entropy():
    space = load_space("asvit")
    assert space.size == 4_556_250
    entropy = sum(math.log(len(choices)) for choices in space.dimensions.values())
    assert entropy == pytest.approx(15.33, abs=0.005)


def test_the_choices_are_those_of_the_paper():
    space = load_space("asvit")
    assert list(space.dimensions)[::4] == ["K1", "S1", "E2"]  # the order counts
    assert space.dimensions == {
        "K1": (4, 5, 6, 7, 8),
        "K2": (2, 3, 4),
        "K3": (2, 3, 4),
        "K4": (2, 3, 4),
        "S1": (2, 4, 8),
        "S2": (1, 2, 4),
        "S3": (1, 2),
        "E1": (2, 3, 4, 5, 6),
        "E2": (2, 3, 4, 5, 6),
        "E3": (2, 3, 4, 5, 6),
        "E4": (2, 3, 4, 5, 6),
        "H": (16, 32, 64),
    }


def test_the_published_result_is_a_member():
    values = [8, 4, 4, 4, 2, 1, 1, 3, 2, 4, 6, 32]
    params = dict(zip(load_space("asvit").dimensions, values, strict=True))
    assert load_space("asvit").encode(Genotype.parse(SEED)) == params
    assert str(load_space("asvit").decode(params)) == SEED


def test_the_small_space_lies_in_the_large_one():
    tiny, whole = load_space("asvit-tiny"), load_space("asvit")
    assert tiny.size == 384
    assert str(tiny.size) in tiny.description
    assert list(tiny.dimensions) == list(whole.dimensions)
    for name, choices in tiny.dimensions.items():
        assert set(choices) <= set(whole.dimensions[name])
    with pytest.raises(ValueError, match=r"K1=7 is not in space 'asvit-tiny'; .* \[4, 6, 8\]"):
        tiny.parse("7,4,2|2,2,2|2,1,2|2,1,2|16")


def test_grown_architectures_belong_to_the_space():
    space = load_space("asvit")
    grown = space.parse("8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180")
    assert space.encode(grown) == space.encode(Genotype.parse(SEED))

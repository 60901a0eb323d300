"""The As-ViT space and its small part."""

import math

import pytest

from asvit.architectures.genotype import Genotype
from asvit.predictor.features import features
from asvit.spaces import load_space
from asvit.spaces.architectures import find

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
        tiny.encode(tiny.parse("7,4,2|2,2,2|2,1,2|2,1,2|16"))


def test_grown_architectures_belong_to_the_space():
    space = load_space("asvit")
    grown = space.parse("8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180")
    assert space.encode(grown) == space.encode(Genotype.parse(SEED))


WITH_PARTS = f"4{SEED[1:]};stem=conv,head=linear"


def test_parts_are_dimensions_and_a_kernel_counts_in_patches_only():
    space, published = load_space("asvit-parts"), load_space("asvit")
    stems = 5 + 2  # one for each kernel of patches, and two of convolutions
    others = math.prod(
        len(choices)
        for name, choices in space.dimensions.items()
        if name not in ("K1", "stem", *published.dimensions)
    )
    assert space.size == published.size // 5 * stems * others
    choices = space.encode(Genotype.parse(WITH_PARTS))
    assert (choices["K1"], choices["stem"]) == (4, "conv")
    assert "K1" not in space.active(choices)
    assert space.decode({**choices, "K1": 8}) == space.decode(choices)
    assert list(space.active(space.encode(Genotype.parse(SEED)))) == list(space.dimensions)


def test_parts_are_features_of_one_kind_and_grow():
    space, arch = find(WITH_PARTS)
    assert space.name == "asvit-parts"
    names, rows = features([SEED, arch], 32)
    kinds = [name for name in names if name.startswith("kind=")]
    assert kinds == ["kind=asvit"]
    assert rows[:, names.index("stem=conv")].tolist() == [0, 1]
    assert rows[:, names.index("mixing=none")].tolist() == [1, 1]
    grown = arch.with_(depths=(2, 1, 3, 1), width=48)
    assert (grown.stem, grown.head, grown.mixing) == ("conv", "linear", "none")
    assert find(str(grown)) == (space, grown)

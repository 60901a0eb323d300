"""The spaces of As-ViT, ShiftViT and PSViT: sizes, choices, members, and what is built."""

import math

import numpy as np
import pytest
import torch

import asvit
from asvit.architectures.genotype import Genotype
from asvit.architectures.psvit_path import PSViT2dPath
from asvit.spaces import load_space

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
LIGHT = "shift:2,2,6,2|4|12|1|96"  # Shift-T/light
CELLS = "bs----|b-----|------"


def test_the_choices_of_the_papers() -> None:
    space = load_space("asvit")
    assert space.size == 4_556_250
    entropy = sum(math.log(len(choices)) for choices in space.dimensions.values())
    assert entropy == pytest.approx(15.33, abs=0.005)
    assert list(space.dimensions)[::4] == ["K1", "S1", "E2"]  # the order counts
    assert space.dimensions == {
        "K1": (4, 5, 6, 7, 8), **dict.fromkeys(("K2", "K3", "K4"), (2, 3, 4)),
        "S1": (2, 4, 8), "S2": (1, 2, 4), "S3": (1, 2),
        **dict.fromkeys(("E1", "E2", "E3", "E4"), (2, 3, 4, 5, 6)), "H": (16, 32, 64),
    }  # fmt: skip
    tiny = load_space("asvit-tiny")
    assert tiny.size == 384
    assert all({*own} <= {*space.dimensions[name]} for name, own in tiny.dimensions.items())
    assert load_space("shiftvit").size == 81 * 4 * 4 * 2 == 2592
    for name in ("psvit1d", "psvit2d"):
        paths = load_space(name)
        assert all(sorted(choices) == ["-", "b", "s"] for choices in paths.dimensions.values())
        assert paths.size == 387_420_489


@pytest.mark.parametrize(
    ("name", "text", "values", "grown"),
    [
        ("asvit", SEED, [8, 4, 4, 4, 2, 1, 1, 3, 2, 4, 6, 32],
         "8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180"),
        ("shiftvit", LIGHT.replace("96", "48"), [2, 2, 6, 2, 4, 12, 1], LIGHT),
        ("psvit2d", "psvit2d:bbs---|-s----|----bb", [*"bbs----s--------bb"],
         "psvit2d:bbs---|-s----|----bb|1,2,3|12"),
    ],
)  # fmt: skip
def test_choices_of_an_architecture_grown_or_not(name, text, values, grown) -> None:
    space = load_space(name)
    params = dict(zip(space.dimensions, values, strict=True))
    assert space.encode(space.parse(text)) == space.encode(space.parse(grown)) == params
    assert str(space.decode(params)) == text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("asvit-tiny", "7,4,2|2,2,2|2,1,2|2,1,2|16", r"K1=7 is not in space .* \[4, 6, 8\]"),
        ("asvit", f"{SEED};head=linear", "is not in space 'asvit', where head is mlp"),
        ("shiftvit", "shift:6,8,18,6|2|12|1|96", "L1=6 is not in space 'shiftvit'"),
        ("shiftvit", "shift:2,2,6,2|2|12|0|96", r"S=0 is not .*; use one of \[1, 2\]"),
    ],
)
def test_what_is_read_but_not_a_member(name, text, message) -> None:
    space = load_space(name)
    with pytest.raises(ValueError, match=message):
        space.encode(space.parse(text))


def test_parts_are_dimensions_and_a_kernel_counts_in_patches_only() -> None:
    space, published = load_space("asvit-parts"), load_space("asvit")
    parts = [
        len(own) for name, own in space.dimensions.items() if name not in published.dimensions
    ]
    stems = 5 + 2  # one for each kernel of patches, and two of convolutions
    assert space.size == published.size // 5 * stems * math.prod(parts) // 3
    choices = space.encode(Genotype.parse(f"4{SEED[1:]};stem=conv,head=linear"))
    assert (choices["K1"], choices["stem"]) == (4, "conv")
    assert "K1" not in space.active(choices)
    assert space.decode({**choices, "K1": 8}) == space.decode(choices)
    assert list(space.active(space.encode(Genotype.parse(SEED)))) == list(space.dimensions)


@pytest.mark.parametrize("name", ["psvit1d", "psvit2d"])
def test_a_path_is_built_at_other_depths_and_width(name: str) -> None:
    model = asvit.build(f"{name}:{CELLS}", 32, 5, depths=(2, 0, 3), width=6)
    assert model.cells == ("bb", "", "bbb")
    assert model.dims == {"psvit1d": (6, 8, 12), "psvit2d": (6, 12, 24)}[name]
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    same = asvit.build(f"{name}:{CELLS}|2,0,3|6", 32, 5)
    assert (same.cells, same.dims) == (model.cells, model.dims)


def test_a_path_without_layers_is_decoded_but_neither_drawn_nor_built(monkeypatch) -> None:
    space = load_space("psvit2d")
    path = space.decode(dict.fromkeys(space.dimensions, "-"))
    assert path == PSViT2dPath.parse("psvit2d:------|------|------")
    for refused in (
        lambda: space.check(path, 32),
        lambda: space.build(path, image_size=32),
        lambda: asvit.cost(path, 32),
        lambda: space.build(f"psvit2d:{CELLS}", image_size=32, depths=(0, 0, 0)),
    ):
        with pytest.raises(ValueError, match="has no layers; use 'b' or 's' in at least one cell"):
            refused()
    drawn = iter([path, space.parse(f"psvit2d:{CELLS}")])
    monkeypatch.setattr(type(space), "decode", lambda _self, _params: next(drawn))
    assert str(space.sample(np.random.default_rng(0))) == f"psvit2d:{CELLS}"

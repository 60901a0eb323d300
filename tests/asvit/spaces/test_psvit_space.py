"""The spaces of PSViT paths: members, what is refused, searching and scaling them."""

import numpy as np
import pytest
import torch

import asvit
from asvit.architectures.psvit_path import PSViT1dPath, PSViT2dPath
from asvit.spaces import load_space

pytestmark = pytest.mark.usefixtures("quick_figures")

NAMES = ("psvit1d", "psvit2d")
CELLS = "bs----|b-----|------"
NOTHING = "------|------|------"


@pytest.mark.parametrize("name", NAMES)
def test_eighteen_cells_of_three_choices(name: str) -> None:
    space = load_space(name)
    assert len(space.dimensions) == 18
    assert all(sorted(choices) == ["-", "b", "s"] for choices in space.dimensions.values())
    assert space.size == 387_420_489


def test_what_a_choice_in_each_dimension_leads_to() -> None:
    space = load_space("psvit2d")
    path = PSViT2dPath.parse("psvit2d:bbs---|-s----|----bb")
    params = space.encode(path)
    assert [params[name] for name in ("S1C1", "S1C3", "S2C2", "S3C6")] == ["b", "s", "s", "b"]
    assert space.encode(path.with_(depths=(1, 2, 3), width=12)) == params
    assert space.decode(params) == path


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_built_at_other_depths_and_width(name: str) -> None:
    model = asvit.build(f"{name}:{CELLS}", 32, 5, depths=(2, 0, 3), width=6)
    assert model.cells == ("bb", "", "bbb")
    assert model.dims == {"psvit1d": (6, 8, 12), "psvit2d": (6, 12, 24)}[name]
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    same = asvit.build(f"{name}:{CELLS}|2,0,3|6", 32, 5)
    assert same.cells == model.cells
    assert same.dims == model.dims


def test_costs_are_those_of_the_presets() -> None:
    # The presets have four layers a stage, or two pairs.
    for cells, name in (("bbbb--", "psvit_1d_tiny"), ("ss----", "psvit_1d_tiny_shared")):
        assert asvit.cost(f"psvit1d:{cells}|{cells}|{cells}") == asvit.cost(f"timm:{name}")
    assert asvit.cost("psvit2d:bb----|bbbb--|bbbbb-") == asvit.cost("timm:psvit_2d_tiny")


@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_layers_is_refused(name: str) -> None:
    space = load_space(name)
    text = f"{name}:{NOTHING}"
    path = space.decode(dict.fromkeys(space.dimensions, "-"))
    assert str(path) == text
    for refused in (
        lambda: space.parse(text),
        lambda: space.check(path, 32),
        lambda: space.build(path, image_size=32),
        lambda: space.build(f"{name}:{CELLS}", image_size=32, depths=(0, 0, 0)),
    ):
        with pytest.raises(ValueError, match="has no layers; use 'b' or 's' in at least one cell"):
            refused()


def test_what_has_no_layers_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    space = load_space("psvit1d")
    drawn = iter([PSViT1dPath(tuple(NOTHING.split("|"))), PSViT1dPath(tuple(CELLS.split("|")))])
    monkeypatch.setattr(type(space), "decode", lambda _self, _params: next(drawn))
    assert str(space.sample(np.random.default_rng(0))) == f"psvit1d:{CELLS}"


def test_images_are_checked_by_the_stages_that_are_there() -> None:
    space = load_space("psvit1d")
    space.check("psvit1d:b-----|------|------", 16)
    with pytest.raises(ValueError, match="stage 2 cannot pool one token by two"):
        space.check("psvit1d:b-----|b-----|------", 16)
    with pytest.raises(ValueError, match="patches of 8 px do not fill an image side of 36 px"):
        load_space("psvit2d").check(f"psvit2d:{CELLS}", 36)

"""What paths are alone, what they cost, and which an evolution may take."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import asvit
from asvit.architectures.psvit_path import layers_of
from asvit.search.supernet_settings import EvolutionSettings
from asvit.search.supernet_space import AllowedPaths, PathCosts, SupernetSpace
from asvit.training.short_settings import SupernetSettings
from proxies import count

SPACES = ("psvit1d", "psvit2d")
CLASSES = 7
PATHS = st.tuples(*[st.text("bs-", min_size=6, max_size=6)] * 3).filter(
    lambda path: any(map(layers_of, path))
)


def space_of(space: str, image_size: int = 64, width: int = 12) -> SupernetSpace:
    return SupernetSpace(SupernetSettings.make(space=space, image_size=image_size, width=width))


@lru_cache
def costs(space: str) -> PathCosts:
    return PathCosts(space_of(space), CLASSES)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(SPACES), PATHS)
def test_a_path_costs_what_its_network_is_counted_to(space: str, path: tuple[str, ...]) -> None:
    text = str(space_of(space).architecture(path))
    counted = count(asvit.build(text, 64, CLASSES), 64)
    assert costs(space)(path) == counted
    assert costs(space).least.macs <= counted.macs <= costs(space).most.macs


def test_a_path_without_layers_costs_nothing_that_could_be_told() -> None:
    with pytest.raises(ValueError, match="has no layer"):
        costs("psvit2d")(("------",) * 3)


@pytest.mark.parametrize(("space", "width"), [("psvit1d", 192), ("psvit2d", 96)])
def test_the_limit_of_the_default_width_is_deit_tiny(space: str, width: int) -> None:
    # deit_tiny_patch16_224: convolution, linear maps and matrix products
    assert space_of(space, 224, width).deit_macs(1000) == 1_253_683_200


def test_the_limit_follows_width_image_size_and_classes() -> None:
    # 64 px: 16 patches and a class token, C=24; embedding, 12 layers, head by hand
    layer = 12 * 17 * 24**2 + 2 * 17**2 * 24
    assert space_of("psvit2d").deit_macs(7) == 16 * 768 * 24 + 12 * layer + 24 * 7
    assert space_of("psvit2d", 72).deit_macs(7) > space_of("psvit2d", 64).deit_macs(7)


def test_what_is_extracted_is_what_the_text_builds() -> None:
    for space in SPACES:
        of, path = space_of(space), ("-b-s--", "------", "b----s")
        alone = of.build(CLASSES, seed=0).eval().extract(path)
        text = str(of.architecture(path))
        assert text == f"{space}:bs----|------|bs----|12"
        model = asvit.build(text, 64, CLASSES).eval()
        model.load_state_dict(alone.state_dict())
        image = torch.randn(1, 3, 64, 64)
        assert torch.equal(model(image), alone(image))


def test_equal_seeds_build_equal_supernets_and_draw_equal_paths() -> None:
    of = space_of("psvit2d")
    one, two, other = (of.build(3, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["heads.0.weight"], other["heads.0.weight"])
    assert of.draw(np.random.default_rng(0)) == of.draw(np.random.default_rng(0))


def test_only_paths_within_the_window_are_allowed() -> None:
    of = space_of("psvit2d")
    path = ("bs----", "b-----", "------")
    macs = costs("psvit2d")(path).macs
    for least, most, allowed in [
        (0, macs, 1),
        (macs, macs, 1),
        (0, macs - 1, 0),
        (macs + 1, 2 * macs, 0),
    ]:
        paths = AllowedPaths(of, CLASSES, EvolutionSettings.make(min_macs=least, max_macs=most))
        known = paths.look(path)
        assert (known is not None) == allowed
        if known is not None:
            assert known == (str(of.architecture(path)), macs)
    paths = AllowedPaths(of, CLASSES, EvolutionSettings.make())
    assert paths.settings.max_macs == paths.deit_macs == of.deit_macs(CLASSES)
    assert paths.look(("------",) * 3) is None
    found = paths.propose(1, [])
    assert len(found) == 50
    assert max(one.macs for one in found) <= paths.deit_macs


def test_a_window_without_paths_is_refused() -> None:
    of = space_of("psvit2d")
    for window in ({"max_macs": "1K"}, {"min_macs": "1G", "max_macs": 10**10}):
        with pytest.raises(ValueError, match=r"no path takes [0-9,]+ to [0-9,]+ multiply-adds"):
            AllowedPaths(of, CLASSES, EvolutionSettings.make(**window))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "asvit"}, "space 'asvit' has no supernet; use one of psvit1d, psvit2d"),
        ({"space": "none"}, "space 'none' has no supernet"),
        ({"image_size": 60}, "60 px"),
        ({"width": 2}, "stage 1 width=2 is not allowed"),
    ],
)
def test_what_has_no_supernet_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SupernetSpace(SupernetSettings.make(**changes))

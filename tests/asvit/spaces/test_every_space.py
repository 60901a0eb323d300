"""What all registered spaces keep together, and the registry; tests/contracts has one by one."""

import re

import numpy as np
import pytest

import asvit
from asvit.spaces import SPACES, SearchSpace, load_space, register_space
from asvit.spaces.architectures import find


@pytest.fixture(params=list(SPACES))
def space(request) -> SearchSpace:
    return load_space(request.param)


def test_a_text_belongs_to_one_space(space):
    rng = np.random.default_rng(0)
    for arch in (space.sample(rng) for _ in range(10)):
        text = str(arch)
        # The small As-ViT space is a part of the large one, which is tried first.
        own = next(one for one in SPACES.values() if arch in one)
        assert find(text)[0] is find(arch)[0] is own
        assert arch in space
        for other in SPACES.values():
            if other.prefix != find(text)[0].prefix and not other.branch:
                message = re.escape(f"is not {other.prefix}") if other.prefix else "part|stage"
                with pytest.raises(ValueError, match=message):
                    other.parse(text)


def test_a_name_is_registered_once_and_others_teach():
    twin = type("Twin", (type(load_space("psvit1d")),), {"__module__": __name__})
    with pytest.raises(ValueError, match="space 'psvit1d' is already registered"):
        register_space(twin)
    with pytest.raises(KeyError, match="unknown space 'psvit1dd'; did you mean 'psvit1d'"):
        load_space("psvit1dd")
    with pytest.raises(KeyError, match="use one of asvit, asvit-tiny"):
        load_space("%")


@pytest.mark.parametrize("name", [name for name, space in SPACES.items() if space.prefix])
def test_a_space_refuses_its_own_texts(name: str) -> None:
    prefix = SPACES[name].prefix
    with pytest.raises(ValueError, match="nonsense") as refused:
        SPACES[name].parse(f"{prefix}nonsense")
    with pytest.raises(ValueError, match="nonsense") as told:
        asvit.build(f"{prefix}nonsense")
    assert str(told.value) == str(refused.value)

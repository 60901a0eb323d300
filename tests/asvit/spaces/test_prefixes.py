"""A wrong text is refused by the space that it names."""

import pytest

import asvit
from asvit.spaces import SPACES


@pytest.mark.parametrize("name", [name for name, space in SPACES.items() if space.prefix])
def test_a_space_refuses_its_own_texts(name: str) -> None:
    prefix = SPACES[name].prefix
    with pytest.raises(ValueError, match="nonsense") as refused:
        SPACES[name].parse(f"{prefix}nonsense")
    with pytest.raises(ValueError, match="nonsense") as told:
        asvit.build(f"{prefix}nonsense")
    assert str(told.value) == str(refused.value)


def test_texts_without_a_prefix_are_as_vit_s() -> None:
    with pytest.raises(ValueError, match="as in 8,2,3"):
        asvit.build("nonsense|8")

"""A space of a reader's own: what it takes, and what holds for every such space."""

from collections.abc import Mapping
from itertools import islice, product
from typing import Any, ClassVar

import pytest
from torch import nn

import asvit
from asvit.growth.seed import find_growable
from asvit.spaces import SPACES, PlainArchitecture, PlainSpace, register_space
from asvit.spaces.base import Choice


class Linear(PlainSpace):
    """A linear map of what pooling to a few pixels leaves, with a choice of activation."""

    name = "linear"
    prefix = "linear:"
    description = "one linear map"
    paper = "none"
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]] = {
        "side": (1, 2),
        "scale": (0.5, 1.0),
        "act": ("gelu", "relu"),
    }

    def network(
        self,
        choices: Mapping[str, Any],
        *,
        image_size: int,
        num_classes: int,
        drop_path: float,
        drop: float,
    ) -> nn.Module:
        act = {"gelu": nn.GELU, "relu": nn.ReLU}[choices["act"]]
        pooled = nn.Sequential(nn.AdaptiveAvgPool2d(choices["side"]), nn.Flatten())
        return nn.Sequential(pooled, act(), nn.Linear(3 * choices["side"] ** 2, num_classes))


SPACE = Linear()
FIVE = list(islice(product(*Linear.dimensions.values()), 5))  # choices


def test_the_text_is_the_prefix_and_the_choices() -> None:
    arch = SPACE.decode({"side": 2, "scale": 0.5, "act": "relu"})
    assert str(arch) == "linear:2,0.5,relu"
    assert SPACE.parse("linear: 2, 0.5 ,relu") == arch
    assert isinstance(arch, PlainArchitecture)
    assert SPACE.size == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("linear:2,0.5", "'linear:2,0.5' is not linear:side,scale,act"),
        ("other:2,0.5,relu", "'other:2,0.5,relu' is not linear:side,scale,act"),
        ("linear:3,0.5,relu", "side='3' is not in space 'linear'; use one of"),
        ("linear:2,0.50,relu", "scale='0.50'"),
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SPACE.parse(text)


def test_a_registered_space_is_found_by_its_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(SPACES, "linear", raising=False)
    register_space(Linear)
    try:
        assert asvit.cost("linear:2,1.0,gelu", image_size=8).params == 13_000
        assert asvit.build(SPACES["linear"].parse("linear:1,1.0,gelu"), 8, 2)
        with pytest.raises(ValueError, match="have no depths and width to grow"):
            find_growable("linear:2,1.0,gelu")
    finally:
        del SPACES["linear"]


def test_a_space_with_the_prefix_of_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPACES, "linear", SPACE)
    twin = type("Twin", (Linear,), {"name": "twin"})
    with pytest.raises(ValueError, match="'twin' has the prefix 'linear:' of 'linear', "):
        register_space(twin)
    assert "twin" not in SPACES
